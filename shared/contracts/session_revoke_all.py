"""session.revoke_all: revoke all sessions of a user."""

from .errors import InvalidTenantToken, UserNotFound
from .operation import Done, Lane, Operation, TenantRequest
from .wire import Name


class SessionRevokeAllRequest(TenantRequest):
    login: Name


SESSION_REVOKE_ALL = Operation(
    "session.revoke_all",
    Lane.MANAGE,
    SessionRevokeAllRequest,
    Done,
    (InvalidTenantToken, UserNotFound),
    repeatable=True,
    audited=True,
)
