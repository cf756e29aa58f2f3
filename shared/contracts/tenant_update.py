"""tenant.update: a tenant's password, its tokens, or both are replaced.

Every token of the tenant ends, and the answer is a new one; its users stay logged in. With `password` that is the
tenant's password from then on. Without, nothing changes but the tokens: for one that may have leaked.
"""

from typing import Annotated

from .address import ClientAddress
from .errors import InvalidCredentials, InvalidTenantToken, Throttled
from .operation import Lane, Operation, TenantRequest
from .wire import NewPassword, OrAbsent, Token, TriedPassword, WireModel


class TenantUpdateBody(WireModel):
    current_password: TriedPassword
    """Or who has stolen a token could keep the tenant for good."""
    password: Annotated[NewPassword | None, OrAbsent()] = None
    """The new one; left out, it stays."""


class TenantUpdateRequest(TenantUpdateBody, TenantRequest):
    client_address: ClientAddress | None = None
    """The caller's address as the edge saw it. Workers ignore it in a request that a service sent."""


class TenantUpdateReply(WireModel):
    token: Token
    access_token: Token
    """The same token, as `tenant.login` answers it."""


TENANT_UPDATE = Operation(
    "tenant.update",
    Lane.PASSWORD,
    TenantUpdateRequest,
    TenantUpdateReply,
    (InvalidTenantToken, InvalidCredentials, Throttled),
    repeatable=True,
)
