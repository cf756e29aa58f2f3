"""`python -m worker.bootstrap` as an administrator runs it, on a real database."""

import asyncio
import base64
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from shared.contracts.api_key import api_key_id
from shared.contracts.permissions import OPERATOR_PERMISSIONS
from shared.process.environment import EX_CONFIG, EX_UNAVAILABLE
from tests.import_command import PATIENCE_SECONDS, Ended, ended
from worker.adapters.argon2_hasher import Argon2Hasher
from worker.adapters.mongo_database import MongoDatabase, connect
from worker.adapters.mongo_indexes import create_indexes
from worker.adapters.mongo_sessions import MongoSessions
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers

PASSWORD = "correct horse battery staple"
MASTER_KEYS = f"test:{base64.b64encode(bytes(32)).decode()}"


@pytest.fixture
async def database(mongo_url: str) -> AsyncIterator[MongoDatabase]:
    async with connect(mongo_url) as database:
        await create_indexes(database)
        yield database


async def bootstrap(
    mongo_url: str, login: str = "olga", password: str = PASSWORD, settings: dict[str, str] | None = None
) -> Ended:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AUTH_", "AMQP", "MONGO"))}
    environment |= {"MONGO_URL": mongo_url, "AMQP_URL": "amqp://nowhere.invalid", "AUTH_MASTER_KEYS": MASTER_KEYS}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker.bootstrap", "--login", login, "--email", "o@example.com", "--password-stdin"),
        env=environment | (settings or {}),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    return await ended(process, f"{password}\n".encode())


async def test_command_makes_the_first_operator_once_and_prints_the_setting(
    mongo_url: str, database: MongoDatabase
) -> None:
    done = await bootstrap(mongo_url)
    assert (done.code, done.out[0]) == (0, "AUTH_OPERATOR_TENANT=operators"), done.err
    [key] = await MongoSessions(database).live_keys("operators", datetime.now(UTC), 10)
    assert [key.id] == [api_key_id(text) for text in done.out[1:]]
    assert "restart" in " ".join(done.err)
    [olga] = await MongoUsers(database).operators(None, 10)
    assert (olga.login, olga.tenant, olga.operator_permissions) == ("olga", "operators", OPERATOR_PERMISSIONS)
    hasher = Argon2Hasher(1, 19_456, 2)
    assert await hasher.verify(olga.password_hash, PASSWORD)
    hasher.close()
    again = await bootstrap(mongo_url, "eve")
    assert (again.code, again.out) == (1, [])
    assert again.err == ["an operator exists: olga of the tenant operators"]
    for text in (done.out, done.err, again.err):
        assert PASSWORD not in " ".join(text)


async def test_of_concurrent_commands_one_wins(mongo_url: str, database: MongoDatabase) -> None:
    async with asyncio.timeout(2 * PATIENCE_SECONDS):
        results = await asyncio.gather(*(bootstrap(mongo_url, login) for login in ("olga", "ada", "eve")))
    assert sorted(result.code or 0 for result in results) == [0, 1, 1], results
    [operator] = await MongoUsers(database).operators(None, 10)
    tenant = await MongoTenants(database).find("operators")
    assert tenant is not None
    assert operator.tenant == tenant.id


@pytest.mark.usefixtures("database")
async def test_bad_password_and_bad_settings_are_named(mongo_url: str) -> None:
    short = await bootstrap(mongo_url, password="short")
    assert (short.code, short.out) == (1, [])
    assert short.err[0].startswith("password: ")
    common = await bootstrap(mongo_url, password="iloveyou")
    assert (common.code, common.err) == (1, ["password: must not be a common password"])
    wrong = await bootstrap(mongo_url, settings={"AUTH_OPERATOR_TENANT": "not an id"})
    assert wrong.code == EX_CONFIG
    assert "AUTH_OPERATOR_TENANT" in wrong.err[0]


async def test_database_without_indexes_is_named(mongo_url: str) -> None:
    done = await bootstrap(mongo_url)
    assert done.code == EX_UNAVAILABLE
    assert "run `python -m worker.indexes`" in done.err[0]
