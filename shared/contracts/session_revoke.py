"""session.revoke: revoke one session of a user."""

from .errors import InvalidTenantToken, SessionNotFound, UserNotFound
from .operation import Done, Lane, Operation, TenantRequest
from .wire import Name


class SessionRevokeRequest(TenantRequest):
    login: Name
    session_id: Name


SESSION_REVOKE = Operation(
    "session.revoke",
    Lane.MANAGE,
    SessionRevokeRequest,
    Done,
    (InvalidTenantToken, UserNotFound, SessionNotFound),
    repeatable=True,
    audited=True,
)
