"""user.delete: remove an account and end every session of it."""

from .errors import InvalidTenantToken, UserNotFound
from .operation import Done, Lane, Operation, TenantRequest
from .wire import Name


class UserDeleteRequest(TenantRequest):
    login: Name


USER_DELETE = Operation(
    "user.delete", Lane.MANAGE, UserDeleteRequest, Done, (InvalidTenantToken, UserNotFound), repeatable=True
)
