"""user.list"""

import base64
from typing import Any

import pytest

from shared.contracts.errors import InvalidRequest
from shared.contracts.user_list import DEFAULT_PAGE, USER_LIST
from tests.unit.worker.in_memory import InMemoryWorker


async def logins(worker: InMemoryWorker, tenant_token: str, **query: Any) -> tuple[list[str], str]:
    """The logins of a page, and the cursor of the next one."""
    reply = await worker.call(USER_LIST, tenantToken=tenant_token, **query)
    return [user.login for user in reply.users], reply.next_cursor


async def test_a_tenant_without_users(worker: InMemoryWorker, shop: str) -> None:
    """An empty list is one page, the last."""
    assert await logins(worker, shop) == ([], "0")


async def test_users_come_in_order_of_login(worker: InMemoryWorker, shop: str) -> None:
    """All of them as they were created, none of another tenant."""
    created = {login: await worker.create(shop, login) for login in ("bob", "ann", "cid")}
    await worker.create(await worker.register("bank@example.com"), "theirs")
    reply = await worker.call(USER_LIST, tenantToken=shop)
    assert reply.users == tuple(created[login] for login in ("ann", "bob", "cid"))
    assert reply.next_cursor == "0"


async def test_pages_follow_each_other(worker: InMemoryWorker, shop: str) -> None:
    """The cursor of a page leads to the next one, until the last one answers 0."""
    for login in "abcde":
        await worker.create(shop, login)
    first, cursor = await logins(worker, shop, limit=2)
    second, next_cursor = await logins(worker, shop, limit=2, cursor=cursor)
    last = await logins(worker, shop, limit=2, cursor=next_cursor)
    assert (first, second, last) == (["a", "b"], ["c", "d"], (["e"], "0"))


async def test_a_full_last_page_is_the_last(worker: InMemoryWorker, shop: str) -> None:
    """Nobody is sent to an empty page."""
    for login in "ab":
        await worker.create(shop, login)
    assert await logins(worker, shop, limit=2) == (["a", "b"], "0")


async def test_a_page_has_a_usual_size(worker: InMemoryWorker, shop: str) -> None:
    """Who asks for no size gets the usual one."""
    for number in range(DEFAULT_PAGE + 1):
        await worker.create(shop, f"user-{number:03}")
    page, cursor = await logins(worker, shop)
    assert len(page) == DEFAULT_PAGE
    assert await logins(worker, shop, cursor=cursor) == ([f"user-{DEFAULT_PAGE:03}"], "0")


@pytest.mark.parametrize("login", ["0", "a", "a/b+c", "🙂" * 256, "漢字", "a b"])
async def test_a_cursor_holds_any_login(worker: InMemoryWorker, shop: str, login: str) -> None:
    """Whatever the login a page ends with, its cursor leads on."""
    await worker.create(shop, login, email="first@example.com")
    await worker.create(shop, "🚀 last", email="last@example.com")
    page, cursor = await logins(worker, shop, limit=1)
    assert page == [login]
    assert await logins(worker, shop, limit=1, cursor=cursor) == (["🚀 last"], "0")


async def test_users_come_and_go_between_pages(worker: InMemoryWorker, shop: str) -> None:
    """A user added before the cursor does not repeat the others."""
    for login in "bcd":
        await worker.create(shop, login)
    page, cursor = await logins(worker, shop, limit=2)
    await worker.create(shop, "a")
    assert page == ["b", "c"]
    assert await logins(worker, shop, limit=2, cursor=cursor) == (["d"], "0")


async def test_search_is_paged(worker: InMemoryWorker, shop: str) -> None:
    """A search finds parts of logins and emails in any case, page by page."""
    for login in ("bob", "ann", "anna", "dan"):
        await worker.create(shop, login)
    first, cursor = await logins(worker, shop, q="AN", limit=2)
    assert first == ["ann", "anna"]
    assert await logins(worker, shop, q="AN", limit=2, cursor=cursor) == (["dan"], "0")
    assert await logins(worker, shop, q="bob@EXAMPLE") == (["bob"], "0")


NOT_UTF_8 = "a" + base64.urlsafe_b64encode(b"\xff\xfe\xfd").decode()


@pytest.mark.parametrize("cursor", ["1", "a!", "aYQ==\n", "🙂", "a" * 5 + "b", NOT_UTF_8, "../etc"])
async def test_a_cursor_of_nobodys(worker: InMemoryWorker, shop: str, cursor: str) -> None:
    """A cursor that no page answered is an invalid request that names the field."""
    with pytest.raises(InvalidRequest) as caught:
        await worker.call(USER_LIST, tenantToken=shop, cursor=cursor)
    assert [problem.field for problem in caught.value.problems] == ["cursor"]
    assert cursor not in str(caught.value)
