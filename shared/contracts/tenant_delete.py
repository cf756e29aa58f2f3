"""tenant.delete: delete a tenant with its users and all their sessions. Its email can be registered
again."""

from .authority import AuthorityRequest
from .errors import Forbidden, InvalidCredentials, InvalidTenantToken, TenantNotFound, Throttled
from .operation import Done, Lane, Operation
from .permissions import Permission


class TenantDeleteRequest(AuthorityRequest):
    pass


TENANT_DELETE = Operation(
    "tenant.delete",
    Lane.PASSWORD,
    TenantDeleteRequest,
    Done,
    (InvalidTenantToken, Forbidden, InvalidCredentials, TenantNotFound, Throttled),
    repeatable=True,
    audited=True,
    of_operator=Permission.TENANTS_WRITE,
)
