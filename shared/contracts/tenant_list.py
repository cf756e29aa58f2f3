"""tenant.list: list all tenants in order of email, one page at a time, optionally filtered. For operators."""

from typing import Annotated

from pydantic import Field, StringConstraints

from .errors import Forbidden, InvalidTenantToken
from .operation import Lane, Operation, TenantRequest
from .permissions import Permission
from .tenant import Tenant
from .user_list import MAX_USER_CURSOR_CHARS, NO_CURSOR
from .wire import Search, WireModel

#: Each tenant of a page costs a few counts of up to `MAX_EXACT_COUNT` index entries.
MAX_TENANTS_PER_PAGE = 100
TENANTS_PER_PAGE = 20


class TenantListQuery(WireModel):
    q: Search = ""
    """Part of a tenant's email, in any case. Empty: all tenants."""
    cursor: Annotated[str, StringConstraints(max_length=MAX_USER_CURSOR_CHARS)] = NO_CURSOR
    """`nextCursor` of the previous page; `0` for the first page."""
    limit: Annotated[int, Field(ge=1, le=MAX_TENANTS_PER_PAGE)] = TENANTS_PER_PAGE


class TenantListRequest(TenantListQuery, TenantRequest):
    pass


class TenantListReply(WireModel):
    tenants: tuple[Tenant, ...]
    next_cursor: str
    """The cursor of the next page; `0` on the last page."""


TENANT_LIST = Operation(
    "tenant.list",
    Lane.MANAGE,
    TenantListRequest,
    TenantListReply,
    (InvalidTenantToken, Forbidden),
    repeatable=True,
    permission=Permission.TENANTS_READ,
)
