"""tenant.login: a tenant's email and password for a tenant token."""

from .errors import InvalidCredentials
from .operation import Lane, Operation
from .wire import TenantEmail, Token, TriedPassword, WireModel


class TenantLoginRequest(WireModel):
    email: TenantEmail
    password: TriedPassword


class TenantLoginReply(WireModel):
    token: Token
    access_token: Token
    """The same token under the name that the published clients of the first Jincor Auth read."""


TENANT_LOGIN = Operation(
    "tenant.login", Lane.PASSWORD, TenantLoginRequest, TenantLoginReply, (InvalidCredentials,), repeatable=True
)
