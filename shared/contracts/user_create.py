"""user.create: a tenant creates an account. It never replaces one."""

from .errors import InvalidTenantToken, LoginTaken
from .operation import Lane, Operation, TenantRequest
from .user import User
from .wire import Email, Name, NewLogin, NewPassword, Scope, WireModel


class UserCreateBody(WireModel):
    email: Email
    login: NewLogin
    """Stored and answered in Unicode form NFC. Neither `.` nor `..`, which URLs cannot hold; no outer spaces, no code
    points that are not displayed, and not `tenant:` at its beginning, in any case."""
    password: NewPassword
    sub: Name | None = None
    """The tenant's own name for this subject; the user's id if absent."""
    scope: Scope = None


class UserCreateRequest(UserCreateBody, TenantRequest):
    pass


USER_CREATE = Operation(
    "user.create", Lane.PASSWORD, UserCreateRequest, User, (InvalidTenantToken, LoginTaken), repeatable=True
)
