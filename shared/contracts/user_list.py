"""user.list: a tenant's users in order of login, page by page, all or those that match a search."""

from typing import Annotated

from pydantic import Field, StringConstraints

from .errors import InvalidTenantToken
from .operation import Lane, Operation, TenantRequest
from .user import User
from .wire import Search, WireModel

#: The cursor that asks for the first page, and that the last page answers: as in the first Jincor Auth.
NO_CURSOR = "0"
#: A login of four-byte characters in base64.
MAX_CURSOR_CHARS = 2_048
MAX_PAGE = 200
DEFAULT_PAGE = 50


class UserListQuery(WireModel):
    q: Search = ""
    """Part of a login or an email, in any case; empty finds all."""
    cursor: Annotated[str, StringConstraints(max_length=MAX_CURSOR_CHARS)] = NO_CURSOR
    """`nextCursor` of the page before, or `0`."""
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE


class UserListRequest(UserListQuery, TenantRequest):
    pass


class UserListReply(WireModel):
    users: tuple[User, ...]
    next_cursor: str


USER_LIST = Operation("user.list", Lane.MANAGE, UserListRequest, UserListReply, (InvalidTenantToken,), repeatable=True)
