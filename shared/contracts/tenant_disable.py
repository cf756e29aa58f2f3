"""tenant.disable: revoke all sessions of a tenant and its users, and refuse its login until it is
enabled."""

from .authority import AuthorityRequest
from .errors import Forbidden, InvalidCredentials, InvalidTenantToken, TenantNotFound, Throttled
from .operation import Done, Lane, Operation
from .permissions import Permission


class TenantDisableRequest(AuthorityRequest):
    pass


TENANT_DISABLE = Operation(
    "tenant.disable",
    Lane.PASSWORD,
    TenantDisableRequest,
    Done,
    (InvalidTenantToken, Forbidden, InvalidCredentials, TenantNotFound, Throttled),
    repeatable=True,
    audited=True,
    of_operator=Permission.TENANTS_WRITE,
)
