"""tenant.logout: revoke the session of a tenant token."""

from .errors import InvalidToken
from .operation import Done, Lane, Operation
from .wire import Token, WireModel


class TenantLogoutRequest(WireModel):
    token: Token


TENANT_LOGOUT = Operation(
    "tenant.logout", Lane.MANAGE, TenantLogoutRequest, Done, (InvalidToken,), repeatable=True, audited=True
)
