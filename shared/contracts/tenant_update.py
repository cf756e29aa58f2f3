"""tenant.update: replace a tenant's tokens and, optionally, its password.

The worker revokes all tokens of the tenant and returns a new one. Users stay logged in, and API keys
stay valid unless `revokeKeys` is true. `password` sets a new password. Without `password` only the
tokens are replaced, for example after one has leaked.
"""

from typing import Annotated

from .address import ClientAddress
from .errors import InvalidCredentials, InvalidTenantToken, Throttled
from .operation import Lane, Operation, TenantRequest
from .wire import NewPassword, OrAbsent, Token, TriedPassword, WireModel


class TenantUpdateBody(WireModel):
    current_password: TriedPassword
    """Required, so that a stolen token is not enough to take over the tenant."""
    password: Annotated[NewPassword | None, OrAbsent()] = None
    """The new password. If it is absent, the password does not change."""
    revoke_keys: bool = False
    """Whether the tenant's API keys are revoked, too."""


class TenantUpdateRequest(TenantUpdateBody, TenantRequest):
    client_address: ClientAddress | None = None
    """The caller's IP address as the edge sees it. Workers ignore it in requests that a service
    sends."""


class TenantUpdateReply(WireModel):
    token: Token
    access_token: Token
    """The same token, as in the reply of `tenant.login`."""


TENANT_UPDATE = Operation(
    "tenant.update",
    Lane.PASSWORD,
    TenantUpdateRequest,
    TenantUpdateReply,
    (InvalidTenantToken, InvalidCredentials, Throttled),
    repeatable=True,
    audited=True,
)
