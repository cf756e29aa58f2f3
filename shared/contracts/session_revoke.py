"""session.revoke: revoke one session of a user."""

from .errors import Forbidden, InvalidTenantToken, SessionNotFound, UserNotFound
from .operation import Done, Lane, Operation, TenantRequest
from .permissions import Permission
from .wire import Name


class SessionRevokeRequest(TenantRequest):
    login: Name
    session_id: Name


SESSION_REVOKE = Operation(
    "session.revoke",
    Lane.MANAGE,
    SessionRevokeRequest,
    Done,
    (InvalidTenantToken, Forbidden, UserNotFound, SessionNotFound),
    repeatable=True,
    audited=True,
    permission=Permission.SESSIONS_REVOKE,
)
