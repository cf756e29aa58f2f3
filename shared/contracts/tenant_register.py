"""tenant.register: a service or product becomes a tenant and gets its first token."""

from .address import ClientAddress
from .errors import EmailTaken, RegistrationForbidden
from .operation import Lane, Operation
from .wire import NewPassword, NewTenantEmail, Secret, Token, WireModel


class TenantRegisterBody(WireModel):
    email: NewTenantEmail
    password: NewPassword


class TenantRegisterRequest(TenantRegisterBody):
    registration_key: Secret | None = None
    """Lets its holder register from anywhere."""
    client_address: ClientAddress | None = None
    """Who asks, as the edge saw it."""


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
    (RegistrationForbidden, EmailTaken),
    repeatable=True,
)
