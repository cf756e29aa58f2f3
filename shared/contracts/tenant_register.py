"""tenant.register: a service or product becomes a tenant and gets its first token."""

from .address import ClientAddress
from .errors import EmailTaken, RegistrationForbidden, Throttled
from .operation import Lane, Operation
from .wire import NewPassword, NewTenantEmail, Secret, Token, WireModel


class TenantRegisterBody(WireModel):
    email: NewTenantEmail
    password: NewPassword


class TenantRegisterRequest(TenantRegisterBody):
    registration_key: Secret | None = None
    """Lets its holder register from anywhere."""
    client_address: ClientAddress | None = None
    """The caller's address as the edge saw it. Workers ignore it in a request that a service sent."""


class TenantRegisterReply(WireModel):
    id: str
    email: str
    login: str
    """`tenant:` and the email."""
    token: Token


TENANT_REGISTER = Operation(
    "tenant.register",
    Lane.PASSWORD,
    TenantRegisterRequest,
    TenantRegisterReply,
    (RegistrationForbidden, EmailTaken, Throttled),
    repeatable=True,
)
