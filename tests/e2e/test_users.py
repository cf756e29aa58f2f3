"""User management: logins, lists, searches and changes."""

import asyncio
import time

import pytest

from tests.e2e.tenant import Tenant

ODD_LOGINS = [
    "a/b", "/", "//", "...", ".a", "%2F", "100%", "a b", "sessions", "x/sessions", "user@example.com", "имя",
    "名前", "😀", "?q=1", "#", "+", "a\\b", "$gt", "\"quoted\"", "'", "<b>", "a;b,c", "é", "0", "a" * 256,
]  # fmt: skip


@pytest.mark.parametrize("login", ODD_LOGINS)
async def test_user_with_an_unusual_login_works_at_every_route(tenant: Tenant, login: str) -> None:
    assert (await tenant.create(login)).status_code == 200
    token = await tenant.token_of(login)
    assert (await tenant.verify(token)).json()["decoded"]["login"] == login
    assert (await tenant.call("PATCH", tenant.path(login), json={"sub": "s"})).json()["login"] == login
    assert len((await tenant.call("GET", tenant.path(login, "sessions"))).json()["sessions"]) == 1
    assert [user["login"] for user in (await tenant.call("GET", "/user")).json()["users"]] == [login]
    assert (await tenant.call("DELETE", tenant.path(login))).status_code == 200
    assert (await tenant.verify(token)).status_code == 400


@pytest.mark.parametrize(
    "login", ["a\nb", "\0", "\x7f", "", "a" * 257, "\u200b\u2028", ".", "..", " ", "a ", "admin\ufe0f", "Tenant:a"]
)
async def test_creation_with_an_invalid_login_is_refused_by_field(tenant: Tenant, login: str) -> None:
    """The logins are unprintable, invisible, empty, too long, a path step, or in the namespace of tenants."""
    answer = await tenant.create(login)
    assert answer.status_code == 422
    assert [problem["field"] for problem in answer.json()["errors"]] == ["login"]


async def test_both_unicode_forms_of_a_login_reach_one_account(tenant: Tenant) -> None:
    typed, stored = "Cafe\u0301", "Caf\u00e9"
    assert (await tenant.create(typed)).json()["login"] == stored
    assert [(await tenant.create(login)).status_code for login in (typed, stored)] == [409, 409]
    token = await tenant.token_of(typed)
    assert (await tenant.verify(token)).json()["decoded"]["login"] == stored
    assert (await tenant.call("PATCH", tenant.path(typed), json={"sub": "s"})).json()["login"] == stored
    assert len((await tenant.call("GET", tenant.path(typed, "sessions"))).json()["sessions"]) == 1
    found = await tenant.call("GET", "/user", params={"q": typed})
    assert [user["login"] for user in found.json()["users"]] == [stored]
    records = await tenant.call("GET", "/audit", params={"login": typed})
    assert {record["login"] for record in records.json()["records"]} == {stored}
    assert (await tenant.call("DELETE", tenant.path(typed))).status_code == 200
    assert (await tenant.verify(token)).status_code == 400


async def test_user_list_is_paged_in_order_without_gaps(tenant: Tenant) -> None:
    logins = sorted(f"user {number:02}" for number in range(25))
    await asyncio.gather(*(tenant.create(login) for login in logins))
    seen, cursor = [], "0"
    while True:
        page = (await tenant.call("GET", "/user", params={"limit": 10, "cursor": cursor})).json()
        seen += [user["login"] for user in page["users"]]
        cursor = page["nextCursor"]
        if cursor == "0":
            break
        assert len(page["users"]) == 10
    assert seen == logins


async def test_user_search_matches_part_of_login_or_email_literally_in_any_case(tenant: Tenant) -> None:
    await tenant.create("Anna.K", email="anna@example.org")
    await tenant.create("bob", email="Bob.K@example.com")
    await tenant.create("carl", email="carl@example.com")

    async def found(text: str) -> list[str]:
        page = (await tenant.call("GET", "/user", params={"q": text})).json()
        return [user["login"] for user in page["users"]]

    assert await found("") == ["Anna.K", "bob", "carl"]
    assert await found(".k") == ["Anna.K", "bob"]
    assert await found("EXAMPLE.COM") == ["bob", "carl"]
    assert await found(".*") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [({"limit": 0}, "limit"), ({"limit": 201}, "limit"), ({"limit": "many"}, "limit"), ({"cursor": "a?"}, "cursor")],
)
async def test_invalid_query_parameter_is_refused_by_name(tenant: Tenant, query: dict[str, str], field: str) -> None:
    answer = await tenant.call("GET", "/user", params=query)
    assert answer.status_code == 422
    assert [problem["field"] for problem in answer.json()["errors"]] == [field]


async def test_patch_changes_only_the_given_attributes(tenant: Tenant) -> None:
    """`scope: null` clears the scope. Changes appear in the next token."""
    before = (await tenant.create("patched", sub="old", scope="read write")).json()
    token = await tenant.token_of("patched")
    changed = await tenant.call("PATCH", tenant.path("patched"), json={"email": "new@users.test"})
    assert changed.json() | {"lastActivity": 0} == before | {"email": "new@users.test", "lastActivity": 0}
    cleared = await tenant.call("PATCH", tenant.path("patched"), json={"scope": None, "sub": "new"})
    assert (cleared.json()["scope"], cleared.json()["sub"]) == (None, "new")
    assert (await tenant.verify(token)).json()["decoded"]["scope"] == "read write", "claims are those at the login"
    claims = (await tenant.verify(await tenant.token_of("patched"))).json()["decoded"]
    assert claims["sub"] == "new"
    assert "scope" not in claims
    assert (await tenant.call("PATCH", tenant.path("patched"), json={})).status_code == 422
    assert (await tenant.call("PATCH", tenant.path("patched"), json={"password": None})).status_code == 422
    assert (await tenant.call("PATCH", tenant.path("nobody"), json={"sub": "x"})).status_code == 404


@pytest.mark.parametrize(
    "scope",
    ["", "a b", {}, {"$where": 1, "a.b": [1, {"c": None}], "": "", "\0": 2**80}, {"é": 1.5}],
)
async def test_scope_is_returned_unchanged(tenant: Tenant, scope: object) -> None:
    """The scopes include values that the database cannot store directly."""
    assert (await tenant.create("scoped", scope=scope)).json()["scope"] == scope
    claims = (await tenant.verify(await tenant.token_of("scoped"))).json()["decoded"]
    assert claims["scope"] == scope


async def test_last_activity_is_updated_after_a_verification(tenant: Tenant) -> None:
    created = (await tenant.create("active")).json()
    token = await tenant.token_of("active")
    await tenant.verify(token)
    deadline = time.monotonic() + 30
    while True:
        user = (await tenant.call("GET", "/user")).json()["users"][0]
        if user["lastActivity"] > created["lastActivity"]:
            break
        assert time.monotonic() < deadline, "last activity was never written"
        await asyncio.sleep(0.1)


async def test_narrowed_scope_applies_when_the_old_sessions_are_revoked(tenant: Tenant) -> None:
    await tenant.create("ann", scope="read write")
    token = await tenant.token_of("ann")
    assert (await tenant.call("PATCH", tenant.path("ann"), json={"scope": "read"})).status_code == 200
    assert (await tenant.verify(token)).json()["decoded"]["scope"] == "read write"
    assert (await tenant.call("DELETE", tenant.path("ann", "sessions"))).status_code == 200
    assert (await tenant.verify(token)).status_code == 400
    assert (await tenant.verify(await tenant.token_of("ann"))).json()["decoded"]["scope"] == "read"
