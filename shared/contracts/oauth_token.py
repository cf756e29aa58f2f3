"""oauth.token: exchange an API key for an access token (OAuth 2.0 client credentials, RFC 6749, 4.4).

Nothing is stored for an access token. It is valid until it expires or its key is revoked, and never allows more than
its key does.
"""

from typing import Literal

from pydantic import Field

from .errors import Forbidden, InvalidScope, InvalidTenantToken
from .operation import Lane, Operation, TenantRequest
from .wire import Token, WireModel


class OauthTokenRequest(TenantRequest):
    """`tenantToken` must be an API key. No other credential gets an access token, not even another access token."""

    scope: str | None = None
    """Names of permissions of the key, separated by single spaces. Absent: all permissions of the key."""


class OauthTokenReply(WireModel):
    """The members of RFC 6749, 5.1."""

    access_token: Token = Field(alias="access_token")
    token_type: Literal["Bearer"] = Field(alias="token_type")
    expires_in: int = Field(alias="expires_in")
    """Lifetime in seconds."""
    scope: str
    """The permissions of the access token."""


# A read of one session and a signature. No permission: the access token allows what its key does, or less.
OAUTH_TOKEN = Operation(
    "oauth.token",
    Lane.VERIFY,
    OauthTokenRequest,
    OauthTokenReply,
    (InvalidTenantToken, Forbidden, InvalidScope),
    repeatable=True,
)
