"""tenant.enable: allow a disabled tenant, or one locked by too many wrong passwords, to log in
again.

Revoked sessions stay revoked. Only an operator, or the holder of the registration key, can do this.
"""

from .authority import OperatorAuthority
from .errors import Forbidden, InvalidCredentials, InvalidTenantToken, TenantNotFound, Throttled
from .operation import Done, Lane, Operation
from .permissions import Permission
from .wire import TenantEmail, WireModel


class TenantEnableBody(WireModel):
    email: TenantEmail


class TenantEnableRequest(OperatorAuthority):
    pass


TENANT_ENABLE = Operation(
    "tenant.enable",
    Lane.MANAGE,
    TenantEnableRequest,
    Done,
    (InvalidTenantToken, Forbidden, InvalidCredentials, TenantNotFound, Throttled),
    repeatable=True,
    audited=True,
    of_operator=Permission.TENANTS_WRITE,
)
