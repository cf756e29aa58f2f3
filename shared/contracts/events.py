"""Events for subscribers: CloudEvents 1.0 envelopes with data named after CAEP. They hold no
secrets.

Delivery is at least once, without a guaranteed order. A redelivered event has the same id. A
revocation is never undone, so a subscriber can apply an event twice or late without harm.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from .wire import WireModel

SESSION_REVOKED = "com.jincor.auth.session.revoked"


def revocations_key(tenant: str) -> str:
    """Return the routing key of a tenant's revocations. Longer keys with this prefix are not
    events."""
    return f"session.revoked.{tenant}"


class RevocationReason(StrEnum):
    """Why a session ended before it expired."""

    LOGOUT = "logout"
    REVOKED = "revoked"
    ALL_REVOKED = "all_revoked"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a reason
    USER_DELETED = "user_deleted"
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 - a reason
    SESSION_LIMIT = "session_limit"
    """The user has the maximum number of newer sessions."""
    TENANT_DISABLED = "tenant_disabled"
    TENANT_DELETED = "tenant_deleted"


class SessionRevoked(WireModel):
    """The data of a `session.revoked` event."""

    session_id: str
    """The `jti` of the revoked tokens. For an API key: the id of the key."""
    tenant: str
    user: str | None
    """The id of the user; null for a session or an API key of the tenant itself."""
    login: str
    """The login of the user; `tenant:` and the tenant's email for a session or an API key of the tenant."""
    device_id: str | None
    reason: Annotated[RevocationReason | str, Field(union_mode="left_to_right")]
    """A newer service may send a reason that is not in this list. The session is revoked all the
    same."""
    event_timestamp: int = Field(alias="event_timestamp")
    """Time of the revocation in seconds since the epoch; named as in CAEP."""
    exp: int
    """When the revoked tokens expire, in seconds since the epoch. A subscriber can forget the event
    then."""

    @property
    def routing_key(self) -> str:
        """The routing key that this event is published under."""
        return revocations_key(self.tenant)


class SessionRevokedEvent(WireModel):
    """The envelope of the event, in the structured JSON format of CloudEvents."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: Literal["com.jincor.auth.session.revoked"]
    subject: str
    time: datetime
    datacontenttype: Literal["application/json"]
    data: SessionRevoked

    @classmethod
    def of(cls, data: SessionRevoked, source: str) -> "SessionRevokedEvent":
        """Return the event of this revocation. Its id is derived from the session id, so it never
        changes."""
        return cls(
            specversion="1.0",
            id=f"session.revoked:{data.session_id}",
            source=source,
            type=SESSION_REVOKED,
            subject=data.session_id,
            time=datetime.fromtimestamp(data.event_timestamp, UTC),
            datacontenttype="application/json",
            data=data,
        )
