"""user.delete: delete a user and revoke all its sessions."""

from .errors import InvalidTenantToken, UserNotFound
from .operation import Done, Lane, Operation, TenantRequest
from .wire import Name


class UserDeleteRequest(TenantRequest):
    login: Name


USER_DELETE = Operation(
    "user.delete",
    Lane.MANAGE,
    UserDeleteRequest,
    Done,
    (InvalidTenantToken, UserNotFound),
    repeatable=True,
    audited=True,
)
