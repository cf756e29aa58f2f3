"""auth.login: exchange a user's login and password for a user token, and open a session."""

from .address import ClientAddress
from .errors import Forbidden, InvalidCredentials, InvalidTenantToken, Throttled
from .operation import Lane, Operation, TenantRequest
from .permissions import Permission
from .wire import Name, Token, TriedPassword, WireModel


class AuthLoginBody(WireModel):
    login: Name
    password: TriedPassword
    device_id: Name
    """The device that the user logs in with, under a name that the tenant chooses."""
    client_address: ClientAddress | None = None
    """The user's IP address, as the tenant's product sees it. With it, throttling can tell the user
    from an attacker who guesses passwords."""


class AuthLoginRequest(AuthLoginBody, TenantRequest):
    pass


class AuthLoginReply(WireModel):
    access_token: Token


AUTH_LOGIN = Operation(
    "auth.login",
    Lane.PASSWORD,
    AuthLoginRequest,
    AuthLoginReply,
    (InvalidTenantToken, Forbidden, InvalidCredentials, Throttled),
    repeatable=True,
    audited=True,
    permission=Permission.AUTH_LOGIN,
)
