"""tenant.enable: allow a disabled tenant, or one locked by too many wrong passwords, to log in
again.

Revoked sessions stay revoked. Only the operator, who has the registration key, can do this.
"""

from .address import ClientAddress
from .errors import InvalidCredentials, TenantNotFound, Throttled
from .operation import Done, Lane, Operation
from .wire import Secret, TenantEmail, WireModel


class TenantEnableBody(WireModel):
    email: TenantEmail


class TenantEnableRequest(TenantEnableBody):
    registration_key: Secret
    client_address: ClientAddress | None = None
    """The caller's IP address as the edge sees it. Workers ignore it in requests that a service
    sends."""


TENANT_ENABLE = Operation(
    "tenant.enable",
    Lane.MANAGE,
    TenantEnableRequest,
    Done,
    (InvalidCredentials, TenantNotFound, Throttled),
    repeatable=True,
    audited=True,
)
