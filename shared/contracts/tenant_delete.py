"""tenant.delete: delete a tenant with its users and all their sessions. Its email can be registered
again."""

from .authority import AuthorityRequest
from .errors import InvalidCredentials, InvalidTenantToken, TenantNotFound, Throttled
from .operation import Done, Lane, Operation


class TenantDeleteRequest(AuthorityRequest):
    pass


TENANT_DELETE = Operation(
    "tenant.delete",
    Lane.PASSWORD,
    TenantDeleteRequest,
    Done,
    (InvalidTenantToken, InvalidCredentials, TenantNotFound, Throttled),
    repeatable=True,
    audited=True,
)
