"""session.revoke_all: revoke all sessions of a user."""

from .errors import Forbidden, InvalidTenantToken, UserNotFound
from .operation import Done, Lane, Operation, TenantRequest
from .permissions import Permission
from .wire import Name


class SessionRevokeAllRequest(TenantRequest):
    login: Name


SESSION_REVOKE_ALL = Operation(
    "session.revoke_all",
    Lane.MANAGE,
    SessionRevokeAllRequest,
    Done,
    (InvalidTenantToken, Forbidden, UserNotFound),
    repeatable=True,
    audited=True,
    permission=Permission.SESSIONS_REVOKE,
)
