"""tenant.revoke_sessions: revoke all sessions of a tenant and of its users. For operators.

The tenant and its users can log in again at once. API keys stay valid unless the request says otherwise.
"""

from .errors import Forbidden, InvalidTenantToken, TenantNotFound
from .operation import Done, Lane, Operation, OperatorRequest
from .permissions import Permission
from .wire import WireModel


class TenantRevokeSessionsQuery(WireModel):
    revoke_keys: bool = False
    """Whether to revoke the tenant's API keys, too."""


class TenantRevokeSessionsRequest(TenantRevokeSessionsQuery, OperatorRequest):
    pass


TENANT_REVOKE_SESSIONS = Operation(
    "tenant.revoke_sessions",
    Lane.MANAGE,
    TenantRevokeSessionsRequest,
    Done,
    (InvalidTenantToken, Forbidden, TenantNotFound),
    repeatable=True,
    audited=True,
    permission=Permission.TENANTS_WRITE,
)
