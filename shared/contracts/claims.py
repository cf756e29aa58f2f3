"""What a token says: registered claims of RFC 7519 and those of the first Jincor Auth."""

from typing import Literal

from .wire import Scope, WireModel


class Claims(WireModel):
    """The claims of a verified token, as they stood at login. `iat` and `exp` are seconds since the epoch.

    A user token's audience is its tenant; a tenant token's audience is this service itself.
    """

    iss: str
    aud: str
    sub: str
    iat: int
    exp: int
    jti: str
    """The session's id."""
    id: str
    """The user's id, or the tenant's."""
    login: str
    tenant: str
    scope: Scope = None
    device_id: str | None = None
    is_tenant: Literal[True] | None = None
