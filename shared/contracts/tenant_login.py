"""tenant.login: exchange a tenant's email and password for a tenant token."""

from .address import ClientAddress
from .errors import InvalidCredentials, Throttled
from .operation import Lane, Operation
from .wire import TenantEmail, Token, TriedPassword, WireModel


class TenantLoginBody(WireModel):
    email: TenantEmail
    password: TriedPassword


class TenantLoginRequest(TenantLoginBody):
    client_address: ClientAddress | None = None
    """The caller's IP address as the edge sees it. Workers ignore it in requests that a service
    sends."""


class TenantLoginReply(WireModel):
    token: Token
    access_token: Token
    """The same token under the name that published clients of Jincor Auth 1 read."""


TENANT_LOGIN = Operation(
    "tenant.login",
    Lane.PASSWORD,
    TenantLoginRequest,
    TenantLoginReply,
    (InvalidCredentials, Throttled),
    repeatable=True,
    audited=True,
)
