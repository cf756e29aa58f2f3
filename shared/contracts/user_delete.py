"""user.delete: delete a user and revoke all its sessions."""

from .errors import Forbidden, InvalidTenantToken, UserNotFound
from .operation import Done, Lane, Operation, TenantRequest
from .permissions import Permission
from .wire import Name


class UserDeleteRequest(TenantRequest):
    login: Name


USER_DELETE = Operation(
    "user.delete",
    Lane.MANAGE,
    UserDeleteRequest,
    Done,
    (InvalidTenantToken, Forbidden, UserNotFound),
    repeatable=True,
    audited=True,
    permission=Permission.USERS_WRITE,
)
