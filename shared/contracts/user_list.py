"""user.list: list the tenant's users in order of login, one page at a time, optionally filtered."""

from typing import Annotated

from pydantic import Field, StringConstraints

from .errors import Forbidden, InvalidTenantToken
from .operation import Lane, Operation, TenantRequest
from .permissions import Permission
from .user import User
from .wire import Search, WireModel

#: The cursor of the first page, and the next cursor on the last page, as in Jincor Auth 1.
NO_CURSOR = "0"
#: A cursor holds a login in base64, of up to four bytes a character.
MAX_USER_CURSOR_CHARS = 2_048
MAX_USERS_PER_PAGE = 200
USERS_PER_PAGE = 50


class UserListQuery(WireModel):
    q: Search = ""
    """Part of a login or an email, in any case. Empty: all users."""
    cursor: Annotated[str, StringConstraints(max_length=MAX_USER_CURSOR_CHARS)] = NO_CURSOR
    """`nextCursor` of the previous page; `0` for the first page."""
    limit: Annotated[int, Field(ge=1, le=MAX_USERS_PER_PAGE)] = USERS_PER_PAGE


class UserListRequest(UserListQuery, TenantRequest):
    pass


class UserListReply(WireModel):
    users: tuple[User, ...]
    next_cursor: str
    """The cursor of the next page; `0` on the last page."""


USER_LIST = Operation(
    "user.list",
    Lane.MANAGE,
    UserListRequest,
    UserListReply,
    (InvalidTenantToken, Forbidden),
    repeatable=True,
    permission=Permission.USERS_READ,
)
