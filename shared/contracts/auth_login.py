"""auth.login: a user's login and password for a user token."""

from .address import ClientAddress
from .errors import InvalidCredentials, InvalidTenantToken, Throttled
from .operation import Lane, Operation, TenantRequest
from .wire import Name, Token, TriedPassword, WireModel


class AuthLoginBody(WireModel):
    login: Name
    password: TriedPassword
    device_id: Name
    """What the user logs in with; the tenant's own name for it."""
    client_address: ClientAddress | None = None
    """Where the user is, as the tenant's product sees it. With it, strangers who guess are told apart from the user."""


class AuthLoginRequest(AuthLoginBody, TenantRequest):
    pass


class AuthLoginReply(WireModel):
    access_token: Token


AUTH_LOGIN = Operation(
    "auth.login",
    Lane.PASSWORD,
    AuthLoginRequest,
    AuthLoginReply,
    (InvalidTenantToken, InvalidCredentials, Throttled),
    repeatable=True,
)
