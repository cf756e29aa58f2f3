"""auth.logout: revoke the session of a user token. Workers reject the token once they have
replied."""

from .errors import Forbidden, InvalidTenantToken, InvalidToken
from .operation import Done, Lane, Operation, TenantRequest
from .permissions import Permission
from .wire import Token, WireModel


class AuthLogoutBody(WireModel):
    token: Token


class AuthLogoutRequest(AuthLogoutBody, TenantRequest):
    pass


AUTH_LOGOUT = Operation(
    "auth.logout",
    Lane.MANAGE,
    AuthLogoutRequest,
    Done,
    (InvalidTenantToken, Forbidden, InvalidToken),
    repeatable=True,
    audited=True,
    permission=Permission.TOKENS_REVOKE,
)
