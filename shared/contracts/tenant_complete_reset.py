"""tenant.complete_reset: set a tenant's password with the code from `tenant.reset`.

All tokens of the tenant are revoked. Its users stay logged in, and its API keys stay valid.
"""

from typing import Annotated

from pydantic import Field

from .address import ClientAddress
from .errors import InvalidCredentials, Throttled
from .operation import Done, Lane, Operation
from .wire import NewPassword, Secret, TenantEmail, WireModel

#: Longer than any code. A wrong code of any length is simply wrong.
MAX_CODE_CHARS = 128


class TenantCompleteResetBody(WireModel):
    email: TenantEmail
    code: Annotated[Secret, Field(min_length=1, max_length=MAX_CODE_CHARS)]
    password: NewPassword


class TenantCompleteResetRequest(TenantCompleteResetBody):
    client_address: ClientAddress | None = None
    """The caller's IP address as the edge sees it. Workers ignore it in requests that a service
    sends."""


TENANT_COMPLETE_RESET = Operation(
    "tenant.complete_reset",
    Lane.PASSWORD,
    TenantCompleteResetRequest,
    Done,
    (InvalidCredentials, Throttled),
    repeatable=True,
    audited=True,
)
