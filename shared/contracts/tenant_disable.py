"""tenant.disable: revoke all sessions of a tenant and its users, and refuse its login until it is
enabled."""

from .authority import AuthorityRequest
from .errors import InvalidCredentials, InvalidTenantToken, TenantNotFound, Throttled
from .operation import Done, Lane, Operation


class TenantDisableRequest(AuthorityRequest):
    pass


TENANT_DISABLE = Operation(
    "tenant.disable",
    Lane.PASSWORD,
    TenantDisableRequest,
    Done,
    (InvalidTenantToken, InvalidCredentials, TenantNotFound, Throttled),
    repeatable=True,
    audited=True,
)
