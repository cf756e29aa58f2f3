"""tenant.enable: a disabled tenant may log in again; what was ended stays ended. For the operator alone."""

from .address import ClientAddress
from .errors import InvalidCredentials, TenantNotFound
from .operation import Done, Lane, Operation
from .wire import Secret, TenantEmail, WireModel


class TenantEnableBody(WireModel):
    email: TenantEmail


class TenantEnableRequest(TenantEnableBody):
    registration_key: Secret
    client_address: ClientAddress | None = None
    """Who asks, as the edge saw it."""


TENANT_ENABLE = Operation(
    "tenant.enable",
    Lane.MANAGE,
    TenantEnableRequest,
    Done,
    (InvalidCredentials, TenantNotFound),
    repeatable=True,
)
