"""session.list: list the live sessions of a user."""

from .errors import Forbidden, InvalidTenantToken, UserNotFound
from .operation import Lane, Operation, TenantRequest
from .permissions import Permission
from .wire import Milliseconds, Name, WireModel

#: Sessions in one reply: more than a person looks through. `session.revoke_all` revokes all of
#: them.
MAX_SESSIONS = 200


class Session(WireModel):
    """A live session as its tenant sees it. It never holds the session's secret."""

    id: str
    device_id: str
    issued_date: Milliseconds
    expiration_date: Milliseconds


class SessionListRequest(TenantRequest):
    login: Name


class SessionListReply(WireModel):
    sessions: tuple[Session, ...]
    """At most 200 sessions, newest first."""


SESSION_LIST = Operation(
    "session.list",
    Lane.MANAGE,
    SessionListRequest,
    SessionListReply,
    (InvalidTenantToken, Forbidden, UserNotFound),
    repeatable=True,
    permission=Permission.SESSIONS_READ,
)
