"""tenant.register: register a product or service as a tenant and return its first token."""

from .address import ClientAddress
from .errors import EmailTaken, RegistrationForbidden, Throttled
from .operation import Lane, Operation
from .wire import NewPassword, NewTenantEmail, Secret, StoredEmail, Token, WireModel


class TenantRegisterBody(WireModel):
    email: NewTenantEmail
    password: NewPassword


class TenantRegisterRequest(TenantRegisterBody):
    registration_key: Secret | None = None
    """With the registration key, a caller can register from any address."""
    client_address: ClientAddress | None = None
    """The caller's IP address as the edge sees it. Workers ignore it in requests that a service
    sends."""


class TenantRegisterReply(WireModel):
    id: str
    email: StoredEmail
    login: str
    """`tenant:` followed by the email."""
    token: Token


TENANT_REGISTER = Operation(
    "tenant.register",
    Lane.PASSWORD,
    TenantRegisterRequest,
    TenantRegisterReply,
    (RegistrationForbidden, EmailTaken, Throttled),
    repeatable=True,
    audited=True,
)
