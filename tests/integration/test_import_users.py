"""`python -m worker.import_users` as an operator runs it, on a real database."""

import asyncio
import json
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.process.environment import EX_CONFIG, EX_UNAVAILABLE
from tests.backends import with_indexes
from tests.fakes import LIMIT, NOW
from tests.import_command import PATIENCE_SECONDS, Ended, run_import, start_import
from tests.mongo_driver import connect
from tests.records import a_tenant
from worker.adapters.mongo_attempts import MongoAttempts
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_indexes import create_indexes
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers
from worker.command import INTERRUPTED
from worker.domain.throttling import account_key, users_of
from worker.import_users import AGAIN
from worker.importing.importer import BATCH

HASH = "$2b$12$TRbcsR329YC.YSSbpFuv9ubjNm5lA6bjnA48h5s5i/sY8T1P2diF6"
USERS = [
    {"login": f"user {number:03}", "email": f"{number}@example.com", "passwordHash": HASH}
    for number in range(BATCH + 50)
]


def lines(users: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(user).encode() + b"\n" for user in users)


@pytest.fixture
async def database(mongo_url: str) -> AsyncIterator[MongoDatabase]:
    """A database with its indexes and the tenant shop@example.com. No worker has started."""
    async with connect(mongo_url) as database:
        await create_indexes(database)
        await MongoTenants(database).add(a_tenant(id="shop", email="shop@example.com"))
        yield database


async def logins(database: MongoDatabase) -> list[str]:
    return [user.login for user in await MongoUsers(database).page("shop", "", "", 1000)]


async def interrupted_import(mongo_url: str, database: MongoDatabase) -> Process:
    """Start an import that has stored one batch, read ten more users, and waits for the next line."""
    process = await start_import("--tenant", "shop@example.com", "-", mongo_url=mongo_url)
    assert process.stdin is not None
    process.stdin.write(lines(USERS[: BATCH + 10]))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(await logins(database)) < BATCH:  # noqa: ASYNC110 - another process changes the database
            await asyncio.sleep(0.05)
    return process


async def test_import_from_a_file_stores_valid_users_and_names_refused_lines(
    mongo_url: str, database: MongoDatabase, tmp_path: Path
) -> None:
    """The tenant's email matches in any case; repeated users are refused."""
    users = [*USERS[:2], {**USERS[2], "email": "nobody"}, USERS[0], {**USERS[3], "passwordHash": "secret"}]
    (tmp_path / "users.jsonl").write_bytes(lines(users))
    arguments = ("--tenant", "Shop@Example.com", str(tmp_path / "users.jsonl"))
    refused = [
        "line 3: email: must be an email address: name@domain",
        "line 4: login: line 1 has it already",
        "line 5: passwordHash: must be a bcrypt hash ($2a$, $2b$ or $2y$, 60 characters) or an argon2id hash "
        "($argon2id$v=19$)",
    ]
    assert await run_import(*arguments, mongo_url=mongo_url) == Ended(
        1, ["2 imported, 0 there already, 3 refused"], refused
    )
    existing = ["line 1: login: is there already", "line 2: login: is there already"]
    second = await run_import(*arguments, mongo_url=mongo_url)
    assert second == Ended(1, [*existing, "0 imported, 2 there already, 3 refused"], refused)
    assert await logins(database) == ["user 000", "user 001"]


async def test_import_without_refused_lines_exits_with_success(mongo_url: str, database: MongoDatabase) -> None:
    """The exit code is the same if all users exist already."""
    for message in (
        ["1 imported, 0 there already, 0 refused"],
        ["line 1: login: is there already", "0 imported, 1 there already, 0 refused"],
    ):
        ended = await run_import("--tenant", "shop@example.com", "-", text=lines(USERS[:1]), mongo_url=mongo_url)
        assert ended == Ended(0, message, [])
    user = await MongoUsers(database).find("shop", "user 000")
    assert user is not None
    assert (user.email, user.password_hash, user.sub, user.generation) == ("0@example.com", HASH, user.id, 0)


async def test_import_clears_failed_attempts_of_its_users(mongo_url: str, database: MongoDatabase) -> None:
    """Users may try to log in before they are imported."""
    attempts = MongoAttempts(database)
    await attempts.count("of another user", None, LIMIT, NOW)
    key = account_key(users_of("shop"), "user 000")
    await attempts.count(key, None, LIMIT, NOW)
    ended = await run_import("--tenant", "shop@example.com", "-", text=lines(USERS[:2]), mongo_url=mongo_url)
    assert ended.code == 0
    assert set(await attempts.find([key, "of another user"])) == {"of another user"}


async def test_import_after_a_killed_one_stores_the_rest(mongo_url: str, database: MongoDatabase) -> None:
    process = await interrupted_import(mongo_url, database)
    process.kill()
    await process.communicate()
    before = await MongoUsers(database).page("shop", "", "", 1000)
    assert len(before) == BATCH
    ended = await run_import("--tenant", "shop@example.com", "-", text=lines(USERS), mongo_url=mongo_url)
    assert (ended.code, ended.err) == (0, [])
    assert ended.out[-1] == f"{len(USERS) - len(before)} imported, {len(before)} there already, 0 refused"
    after = await MongoUsers(database).page("shop", "", "", 1000)
    assert [user.login for user in after] == [user["login"] for user in USERS]
    assert list(after[: len(before)]) == list(before)


async def test_interrupted_import_reports_it_at_once(mongo_url: str, database: MongoDatabase) -> None:
    """An interrupt works while the command waits for the next line; stored users stay."""
    process = await interrupted_import(mongo_url, database)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await process.wait() == INTERRUPTED
    assert process.stdout is not None
    assert process.stderr is not None
    assert await process.stderr.read() == f"interrupted; {AGAIN}\n".encode()
    assert (await process.stdout.read()).splitlines()[-1] == f"{BATCH} imported, 0 there already, 0 refused".encode()


async def test_concurrent_imports_store_each_user_once(mongo_url: str, database: MongoDatabase) -> None:
    arguments = ("--tenant", "shop@example.com", "-")
    ended = await asyncio.gather(*(run_import(*arguments, text=lines(USERS), mongo_url=mongo_url) for _ in range(2)))
    assert [each.code for each in ended] == [0, 0]
    assert sum(int(each.out[-1].partition(" ")[0]) for each in ended) == len(USERS)
    assert await logins(database) == [user["login"] for user in USERS]


async def test_import_check_without_a_database_names_refused_lines() -> None:
    ended = await run_import(
        "--tenant", "shop@example.com", "--check", "-", text=lines([USERS[0], {**USERS[1], "sub": ""}])
    )
    assert ended == Ended(1, ["1 to import, 1 refused"], ["line 2: sub: String should have at least 1 character"])
    assert await run_import("--tenant", "shop@example.com", "--check", "-", text=lines(USERS)) == Ended(
        0, [f"{len(USERS)} to import, 0 refused"], []
    )


async def test_import_check_warns_about_more_than_three_hash_parameter_sets() -> None:
    """A worker equalizes the time of refused logins for four sets, including its own."""
    users = [{**user, "passwordHash": HASH.replace("$12$", f"${cost:02}$")} for cost, user in enumerate(USERS[:4], 9)]
    for number in (3, 4):
        ended = await run_import("--tenant", "shop@example.com", "--check", "-", text=lines(users[:number]))
        assert (ended.code, ended.err, len(ended.out)) == (0, [], number - 2)
    assert "have 4 different parameter sets" in ended.out[1]


@pytest.mark.parametrize(
    ("tenant", "file", "code", "message"),
    [
        ("bank@example.com", "-", 1, "--tenant: no tenant has this email"),
        ("bank", "-", 2, "must be an email address"),
        ("shop@example.com", "/nowhere", 2, "FILE: No such file or directory"),
    ],
)
async def test_import_with_an_unknown_tenant_or_file_fails_on_stderr(
    mongo_url: str, tenant: str, file: str, code: int, message: str
) -> None:
    await with_indexes(mongo_url)
    ended = await run_import("--tenant", tenant, file, text=lines(USERS[:1]), mongo_url=mongo_url)
    assert ended.code == code
    assert message in ended.err[-1]


@pytest.mark.parametrize(
    ("mongo_url", "code", "message"),
    [
        (None, EX_CONFIG, "configuration error: MONGO_URL: Field required"),
        ("mongodb://127.0.0.1:1/?appname=hunter2", EX_UNAVAILABLE, "database: cannot be reached: 127.0.0.1:1"),
    ],
)
async def test_import_without_a_database_fails_and_hides_the_password(
    mongo_url: str | None, code: int, message: str
) -> None:
    ended = await run_import("--tenant", "shop@example.com", "-", text=lines(USERS[:1]), mongo_url=mongo_url)
    assert ended.code == code
    assert ended.err[-1].startswith(message)
    assert "hunter2" not in str(ended)
