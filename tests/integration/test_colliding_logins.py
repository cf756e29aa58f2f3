"""`python -m worker.colliding_logins` as an operator runs it: its output and exit codes."""

import json
from typing import Any

import pytest

from shared.process.environment import EX_CONFIG, EX_UNAVAILABLE
from tests.fakes import FakeTenants, FakeUsers
from tests.import_command import Ended, ended, start_command
from tests.mongo_driver import connect
from tests.records import a_tenant, a_user
from worker.adapters.mongo_indexes import create_indexes
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers
from worker.colliding_logins import NOT_NORMAL, PAGE, listed

SPACE = "must not begin or end with a space"
HIDDEN = "must not contain code points that are not displayed, such as variation selectors"
RESERVED = "must not begin with `tenant:`, which is reserved for tenants"
#: Logins that older versions accepted, with their problem; None: accepted today.
LOGINS: dict[str, tuple[str, str, bool] | None] = {
    "admin": None,
    "admin ": (SPACE, "admin", True),
    "admin\ufe0f": (HIDDEN, "admin", True),
    "Admin": None,
    "bob\ufe0f": (HIDDEN, "bob", False),
    "Caf\u00e9": None,
    "Cafe\u0301": (NOT_NORMAL, "Caf\u00e9", True),
    "Zoe\u0308": (NOT_NORMAL, "Zo\u00eb", False),
    "\u212b": (NOT_NORMAL, "\u00c5", True),
    "A\u030a": (NOT_NORMAL, "\u00c5", True),
    "tenant:ann": (RESERVED, "tenant:ann", False),
}


def expected_lines(tenant: str) -> list[dict[str, Any]]:
    """Return the expected output for the logins above, for the tenant with this email."""
    return [
        {"tenant": tenant, "login": login, "problem": problem[0], "looksLike": problem[1], "collides": problem[2]}
        for login, problem in sorted(LOGINS.items())
        if problem
    ]


async def run(mongo_url: str | None = None, *arguments: str) -> Ended:
    return await ended(await start_command("worker.colliding_logins", *arguments, mongo_url=mongo_url))


async def test_logins_that_cannot_be_created_today_are_listed_for_each_tenant(mongo_url: str) -> None:
    """The output is ASCII; nothing is changed."""
    async with connect(mongo_url) as database:
        await create_indexes(database)
        tenants, users = MongoTenants(database), MongoUsers(database)
        for name in ("shop", "bank", "quiet"):
            await tenants.add(a_tenant(id=name, email=f"{name}@example.com"))
        assert await run(mongo_url) == Ended(0, [], ["0 logins cannot be created today, 0 of them look like another"])
        all_users = [a_user(tenant=tenant, login=login) for tenant in ("shop", "bank") for login in LOGINS]
        assert await users.add_new([*all_users, a_user(tenant="quiet", login="bob")]) == set()
        before = await users.page("shop", "", "", 100)
        problem = await run(mongo_url)
        assert problem.code == 1
        assert [json.loads(line) for line in problem.out] == [
            *expected_lines("bank@example.com"),
            *expected_lines("shop@example.com"),
        ]
        assert all(line.isascii() for line in problem.out)
        assert problem.err == ["16 logins cannot be created today, 10 of them look like another"]
        assert await users.page("shop", "", "", 100) == before


async def test_more_logins_than_one_page_are_listed_once() -> None:
    tenants, users = FakeTenants(), FakeUsers()
    for number in range(3):
        await tenants.add(a_tenant(id=str(number), email=f"{number}@example.com"))
    logins = [f"{number:05}{' ' * (number % 2)}" for number in range(PAGE + 10)]
    await users.add_new([a_user(tenant="1", login=login) for login in logins])
    found = [each async for each in listed(tenants, users)]
    assert [each.login for each in found] == logins[1::2]
    assert {each.tenant for each in found} == {"1@example.com"}


@pytest.mark.parametrize(
    ("mongo_url", "arguments", "code"),
    [
        (None, (), EX_CONFIG),
        ("mongodb://127.0.0.1:1/test", (), EX_UNAVAILABLE),
        ("mongodb://127.0.0.1:1/test", ("shop",), 2),
    ],
)
async def test_missing_database_or_wrong_arguments_have_exit_codes_of_their_own(
    mongo_url: str | None, arguments: tuple[str, ...], code: int
) -> None:
    """No traceback is printed."""
    problem = await run(mongo_url, *arguments)
    assert (problem.code, problem.out) == (code, [])
    assert problem.err
    assert not any("Traceback" in line for line in problem.err)
