"""The operation `user.list`."""

from shared.contracts.user_list import NO_CURSOR, USER_LIST, UserListReply, UserListRequest
from worker.domain.call import Call
from worker.domain.cursors import text_before, text_cursor
from worker.domain.ports import Ports
from worker.domain.principal import principal_of
from worker.domain.views import public_user


async def user_list(request: UserListRequest, call: Call, ports: Ports) -> UserListReply:
    """Return one page of users, in order of login.

    The cursor is the last login of the previous page, so users added or deleted meanwhile do not
    shift the pages.
    """
    tenant = (await principal_of(USER_LIST, request, call, ports)).tenant
    after = text_before(request.cursor)
    found = await ports.users.page(tenant, request.q, after, request.limit + 1)
    page = found[: request.limit]
    return UserListReply(
        users=tuple(public_user(user) for user in page),
        next_cursor=text_cursor(page[-1].login) if len(found) > len(page) else NO_CURSOR,
    )
