"""tenant.get: return one tenant. For operators."""

from .errors import Forbidden, InvalidTenantToken, TenantNotFound
from .operation import Lane, Operation, OperatorRequest
from .permissions import Permission
from .tenant import Tenant


class TenantGetRequest(OperatorRequest):
    pass


TENANT_GET = Operation(
    "tenant.get",
    Lane.MANAGE,
    TenantGetRequest,
    Tenant,
    (InvalidTenantToken, Forbidden, TenantNotFound),
    repeatable=True,
    permission=Permission.TENANTS_READ,
)
