"""The operation `user.search`."""

from shared.contracts import names
from shared.contracts.user_list import NO_CURSOR, UserListReply
from shared.contracts.user_search import USER_SEARCH, UserSearchRequest
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.principal import principal_of
from worker.domain.views import public_user


async def user_search(request: UserSearchRequest, call: Call, ports: Ports) -> UserListReply:
    """Return one page of the users of all tenants with this login or email, in order of id.

    Whole names only: an index finds these, and cannot find parts.
    """
    await principal_of(USER_SEARCH, request, call, ports)
    after = "" if request.cursor == NO_CURSOR else request.cursor
    spellings = {request.q, names.nfc(request.q), request.q.lower()}
    found = await ports.users.named(spellings, after, request.limit + 1)
    page = found[: request.limit]
    return UserListReply(
        users=tuple(public_user(user) for user in page),
        next_cursor=page[-1].id if len(found) > len(page) else NO_CURSOR,
    )
