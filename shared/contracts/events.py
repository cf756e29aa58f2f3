"""What happened, told to whoever listens: a CloudEvents 1.0 envelope around data named after CAEP. No secrets.

Delivery is at least once and in no promised order. An event's id is the same each time it is delivered, and
"revoked" only ever grows, so a consumer may apply it twice or late without harm.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from .wire import WireModel

SESSION_REVOKED = "com.jincor.auth.session.revoked"


def revocations_key(tenant: str) -> str:
    """The routing key of a tenant's revocations. Longer keys that begin with it are not events."""
    return f"session.revoked.{tenant}"


class RevocationReason(StrEnum):
    """Why a session ended before its time."""

    LOGOUT = "logout"
    REVOKED = "revoked"
    ALL_REVOKED = "all_revoked"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a reason
    USER_DELETED = "user_deleted"
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 - a reason
    SESSION_LIMIT = "session_limit"
    """The user has as many newer ones as are allowed."""
    TENANT_DISABLED = "tenant_disabled"
    TENANT_DELETED = "tenant_deleted"


class SessionRevoked(WireModel):
    """The data of a `session.revoked` event."""

    session_id: str
    """The `jti` of the tokens that died."""
    tenant: str
    user: str | None
    """None for a tenant's own session."""
    login: str
    device_id: str | None
    reason: Annotated[RevocationReason | str, Field(union_mode="left_to_right")]
    """A newer service may give a reason that is not among these; the session has ended all the same."""
    event_timestamp: int = Field(alias="event_timestamp")
    """When it was revoked, in seconds since the epoch; spelled as in CAEP."""
    exp: int
    """When its tokens would have ended anyway: nobody needs to remember the revocation for longer."""

    @property
    def routing_key(self) -> str:
        return revocations_key(self.tenant)


class SessionRevokedEvent(WireModel):
    """The envelope, in CloudEvents' structured JSON format."""

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
        """The one event of this revocation: its id follows from the session's."""
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
