"""session.list: where a user is logged in."""

from .errors import InvalidTenantToken, UserNotFound
from .operation import Lane, Operation, TenantRequest
from .wire import Milliseconds, Name, WireModel

#: More than anybody looks through; all of them are ended together by session.revoke_all.
MAX_SESSIONS = 200


class Session(WireModel):
    """A live session as its tenant sees it. Never its secret."""

    id: str
    device_id: str
    issued_date: Milliseconds
    expiration_date: Milliseconds


class SessionListRequest(TenantRequest):
    login: Name


class SessionListReply(WireModel):
    sessions: tuple[Session, ...]
    """Newest first; of more than 200, the newest."""


SESSION_LIST = Operation(
    "session.list",
    Lane.MANAGE,
    SessionListRequest,
    SessionListReply,
    (InvalidTenantToken, UserNotFound),
    repeatable=True,
)
