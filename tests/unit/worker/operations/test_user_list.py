"""user.list"""

import base64
from typing import Any

import pytest

from shared.contracts.errors import InvalidRequest
from shared.contracts.user_list import USER_LIST, USERS_PER_PAGE
from tests.unit.worker.in_memory import InMemoryWorker


async def logins(worker: InMemoryWorker, tenant_token: str, **query: Any) -> tuple[list[str], str]:
    """Return the logins of a page and the cursor of the next page."""
    reply = await worker.call(USER_LIST, tenantToken=tenant_token, **query)
    return [user.login for user in reply.users], reply.next_cursor


async def test_list_without_users_is_one_empty_page(worker: InMemoryWorker, shop: str) -> None:
    assert await logins(worker, shop) == ([], "0")


async def test_users_are_listed_in_order_of_login(worker: InMemoryWorker, shop: str) -> None:
    """Users of other tenants are not listed."""
    created = {login: await worker.create(shop, login) for login in ("bob", "ann", "cid")}
    await worker.create(await worker.register("bank@example.com"), "theirs")
    reply = await worker.call(USER_LIST, tenantToken=shop)
    assert reply.users == tuple(created[login] for login in ("ann", "bob", "cid"))
    assert reply.next_cursor == "0"


async def test_cursor_of_a_page_leads_to_the_next_one(worker: InMemoryWorker, shop: str) -> None:
    for login in "abcde":
        await worker.create(shop, login)
    first, cursor = await logins(worker, shop, limit=2)
    second, next_cursor = await logins(worker, shop, limit=2, cursor=cursor)
    last = await logins(worker, shop, limit=2, cursor=next_cursor)
    assert (first, second, last) == (["a", "b"], ["c", "d"], (["e"], "0"))


async def test_full_last_page_has_no_cursor(worker: InMemoryWorker, shop: str) -> None:
    """Otherwise clients would fetch an empty page."""
    for login in "ab":
        await worker.create(shop, login)
    assert await logins(worker, shop, limit=2) == (["a", "b"], "0")


async def test_page_of_users_without_a_limit_has_the_default_size(worker: InMemoryWorker, shop: str) -> None:
    for number in range(USERS_PER_PAGE + 1):
        await worker.create(shop, f"user-{number:03}")
    page, cursor = await logins(worker, shop)
    assert len(page) == USERS_PER_PAGE
    assert await logins(worker, shop, cursor=cursor) == ([f"user-{USERS_PER_PAGE:03}"], "0")


@pytest.mark.parametrize("login", ["0", "a", "a/b+c", "🙂" * 256, "漢字", "a b"])
async def test_cursor_after_any_login_leads_to_the_next_page(worker: InMemoryWorker, shop: str, login: str) -> None:
    await worker.create(shop, login, email="first@example.com")
    await worker.create(shop, "🚀 last", email="last@example.com")
    page, cursor = await logins(worker, shop, limit=1)
    assert page == [login]
    assert await logins(worker, shop, limit=1, cursor=cursor) == (["🚀 last"], "0")


async def test_user_added_before_the_cursor_repeats_no_other_user(worker: InMemoryWorker, shop: str) -> None:
    for login in "bcd":
        await worker.create(shop, login)
    page, cursor = await logins(worker, shop, limit=2)
    await worker.create(shop, "a")
    assert page == ["b", "c"]
    assert await logins(worker, shop, limit=2, cursor=cursor) == (["d"], "0")


async def test_search_finds_parts_of_logins_and_emails_by_page(worker: InMemoryWorker, shop: str) -> None:
    """Case does not matter."""
    for login in ("bob", "ann", "anna", "dan"):
        await worker.create(shop, login)
    first, cursor = await logins(worker, shop, q="AN", limit=2)
    assert first == ["ann", "anna"]
    assert await logins(worker, shop, q="AN", limit=2, cursor=cursor) == (["dan"], "0")
    assert await logins(worker, shop, q="bob@EXAMPLE") == (["bob"], "0")


NOT_UTF_8 = "a" + base64.urlsafe_b64encode(b"\xff\xfe\xfd").decode()


@pytest.mark.parametrize("cursor", ["1", "a!", "aYQ==\n", "🙂", "a" * 5 + "b", NOT_UTF_8, "../etc"])
async def test_malformed_cursor_is_refused_without_repeating_it(worker: InMemoryWorker, shop: str, cursor: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await worker.call(USER_LIST, tenantToken=shop, cursor=cursor)
    assert [problem.field for problem in caught.value.problems] == ["cursor"]
    assert cursor not in str(caught.value)
