"""user.get: return one user by its login."""

from .errors import Forbidden, InvalidTenantToken, UserNotFound
from .operation import Lane, Operation, TenantRequest
from .permissions import Permission
from .user import User
from .wire import Name


class UserGetRequest(TenantRequest):
    login: Name


USER_GET = Operation(
    "user.get",
    Lane.MANAGE,
    UserGetRequest,
    User,
    (InvalidTenantToken, Forbidden, UserNotFound),
    repeatable=True,
    permission=Permission.USERS_READ,
)
