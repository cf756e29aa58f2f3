"""auth.login: a user's login and password for a user token."""

from .errors import InvalidCredentials, InvalidTenantToken
from .operation import Lane, Operation, TenantRequest
from .wire import Name, Token, TriedPassword, WireModel


class AuthLoginBody(WireModel):
    login: Name
    password: TriedPassword
    device_id: Name
    """What the user logs in with; the tenant's own name for it."""


class AuthLoginRequest(AuthLoginBody, TenantRequest):
    pass


class AuthLoginReply(WireModel):
    access_token: Token


AUTH_LOGIN = Operation(
    "auth.login",
    Lane.PASSWORD,
    AuthLoginRequest,
    AuthLoginReply,
    (InvalidTenantToken, InvalidCredentials),
    repeatable=True,
)
