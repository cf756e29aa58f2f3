"""tenant.enable: a tenant may log in again that was disabled, or locked after too many wrong passwords.

What was ended stays ended. For the operator alone.
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
    """The caller's address as the edge saw it. Workers ignore it in a request that a service sent."""


TENANT_ENABLE = Operation(
    "tenant.enable",
    Lane.MANAGE,
    TenantEnableRequest,
    Done,
    (InvalidCredentials, TenantNotFound, Throttled),
    repeatable=True,
)
