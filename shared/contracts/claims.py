"""The claims of a token: registered claims of RFC 7519 and those of Jincor Auth 1."""

from typing import Literal

from .wire import Scope, WireModel

#: The type of a tenant token, in its header.
TENANT_TYPE = "jincor-tenant+jwt"


class Claims(WireModel):
    """The claims of a verified token, as they were at login. `iat` and `exp` are seconds since the
    epoch.

    The audience (`aud`) of a user token is its tenant. The audience of a tenant token is this
    service, as is the audience of an access token and of an operator's token.
    """

    iss: str
    aud: str
    sub: str
    iat: int
    exp: int
    jti: str
    """The id of the session; in an access token, a random id."""
    id: str
    """The id of the user; in tenant tokens and access tokens, of the tenant."""
    login: str
    """In an access token: the name of the API key."""
    tenant: str
    scope: Scope = None
    device_id: str | None = None
    is_tenant: Literal[True] | None = None
    client_id: str | None = None
    """In an access token: the id of the API key that it was issued to (RFC 9068, 2.2)."""
