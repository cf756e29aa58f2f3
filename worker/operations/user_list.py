"""The operation `user.list`."""

import base64

from shared.contracts.errors import FieldProblem, InvalidRequest
from shared.contracts.user_list import NO_CURSOR, USER_LIST, UserListReply, UserListRequest
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.principal import principal_of
from worker.domain.views import public_user


async def user_list(request: UserListRequest, call: Call, ports: Ports) -> UserListReply:
    """Return one page of users, in order of login.

    The cursor is the last login of the previous page, so users added or deleted meanwhile do not
    shift the pages.
    """
    tenant = (await principal_of(USER_LIST, request, call, ports)).tenant
    after = _read_cursor(request.cursor)
    found = await ports.users.page(tenant, request.q, after, request.limit + 1)
    page = found[: request.limit]
    return UserListReply(
        users=tuple(public_user(user) for user in page),
        next_cursor=_make_cursor(page[-1].login) if len(found) > len(page) else NO_CURSOR,
    )


def _make_cursor(login: str) -> str:
    # The leading letter keeps the cursor of any login apart from NO_CURSOR.
    return "a" + base64.urlsafe_b64encode(login.encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> str:
    if cursor in ("", NO_CURSOR):
        return ""
    encoded = cursor.removeprefix("a")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:  # not base64, ASCII or UTF-8
        problem = FieldProblem(field="cursor", message=f"must be a nextCursor of an earlier page, or {NO_CURSOR}")
        raise InvalidRequest(problems=[problem]) from None
