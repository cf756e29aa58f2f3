"""user.create: create a user. An existing user is never replaced."""

from .errors import Forbidden, InvalidTenantToken, LoginTaken
from .operation import Lane, Operation, TenantRequest
from .permissions import Permission
from .user import User
from .wire import Email, Name, NewLogin, NewPassword, Scope, WireModel


class UserCreateBody(WireModel):
    email: Email
    login: NewLogin
    """Stored and returned in Unicode form NFC. It must not be `.` or `..`, because URLs cannot
    contain them. It must not begin or end with a space, contain invisible code points, or begin
    with `tenant:` in any case."""
    password: NewPassword
    sub: Name | None = None
    """The tenant's own id of this user, for the claim `sub`. Default: the user's id."""
    scope: Scope = None


class UserCreateRequest(UserCreateBody, TenantRequest):
    pass


USER_CREATE = Operation(
    "user.create",
    Lane.PASSWORD,
    UserCreateRequest,
    User,
    (InvalidTenantToken, Forbidden, LoginTaken),
    repeatable=True,
    audited=True,
    permission=Permission.USERS_WRITE,
)
