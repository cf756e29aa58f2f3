"""user.search: find the users of all tenants with this login or email, one page at a time. For operators."""

from typing import Annotated

from pydantic import Field, StringConstraints

from .errors import Forbidden, InvalidTenantToken
from .operation import Lane, Operation, TenantRequest
from .permissions import Permission
from .user_list import MAX_USERS_PER_PAGE, NO_CURSOR, USERS_PER_PAGE, UserListReply
from .wire import Name, WireModel

#: The id of a user.
MAX_ID_CHARS = 64


class UserSearchQuery(WireModel):
    q: Name
    """A whole login or email. An email is found as stored, or in lower case."""
    cursor: Annotated[str, StringConstraints(max_length=MAX_ID_CHARS)] = NO_CURSOR
    """`nextCursor` of the previous page; `0` for the first page."""
    limit: Annotated[int, Field(ge=1, le=MAX_USERS_PER_PAGE)] = USERS_PER_PAGE


class UserSearchRequest(UserSearchQuery, TenantRequest):
    pass


USER_SEARCH = Operation(
    "user.search",
    Lane.MANAGE,
    UserSearchRequest,
    UserListReply,
    (InvalidTenantToken, Forbidden),
    repeatable=True,
    permission=Permission.TENANTS_READ,
    also_needs=Permission.USERS_READ,
)
