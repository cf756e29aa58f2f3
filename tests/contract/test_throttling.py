"""Throttled logins by several workers on one real database: hashes and database queries."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from shared.contracts import OPERATIONS
from shared.contracts.errors import AuthError, InvalidCredentials, Throttled
from tests import fakes
from tests.contract.stepped import SteppedDatabase
from tests.records import a_tenant, a_user
from worker.adapters.mongo_attempts import MongoAttempts
from worker.adapters.mongo_audit import MongoAudit
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_sessions import MongoSessions
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers
from worker.domain.attempts import Throttle
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.session_opening import open_tenant_session
from worker.operations import HANDLERS

PASSWORD = "correct horse battery staple"
WORKERS = 4
HOME = "192.0.2.1"


class World:
    """One tenant with ann and two accented logins, and workers that share only the database."""

    def __init__(self, database: MongoDatabase, throttle: Throttle = fakes.THROTTLE) -> None:
        self.hasher = fakes.FakeHasher()
        self.clock = fakes.FakeClock()
        self._throttle = throttle
        self._database = database
        self._workers = [self._on(database) for _ in range(WORKERS)]
        self._token = ""

    @classmethod
    async def begin(cls, database: MongoDatabase, throttle: Throttle = fakes.THROTTLE) -> "World":
        world = cls(database, throttle)
        worker = world._workers[0]
        password_hash = await world.hasher.hash(PASSWORD)
        tenant = a_tenant(email="shop@example.com", password_hash=password_hash)
        await worker.tenants.add(tenant)
        for login in ("ann", "Am\u00e9lie", "Zoe\u0308"):
            await worker.users.add(a_user(tenant=tenant.id, login=login, password_hash=password_hash))
        world._token = await open_tenant_session(tenant, Call("begin"), worker)
        return world

    async def add(self, login: str, password: str) -> None:
        """Add a user to the tenant as an older worker may have stored it."""
        worker = self._workers[0]
        tenant = await worker.tenants.find_by_email("shop@example.com")
        assert tenant is not None
        password_hash = await self.hasher.hash(password)
        await worker.users.add(a_user(tenant=tenant.id, login=login, password_hash=password_hash))

    async def attempt(self, name: str, login: str, password: str, worker: Ports | None = None, **fields: Any) -> str:
        """Return `ok`, or the code of the refusal."""
        operation = OPERATIONS[name]
        members = {
            "tenantToken": self._token,
            "deviceId": "phone",
            "login": login,
            "email": login,
            "password": password,
            **fields,
        }
        call = Call(f"{name} {asyncio.current_task()} {password}")
        try:
            await HANDLERS[name](operation.request.model_validate(members), call, worker or self._workers[0])
        except AuthError as error:
            return error.code
        return "ok"

    async def attempt_at_once(self, name: str, login: str, password: str, times: int) -> Sequence[str]:
        """Send this many logins at the same time, spread over all workers."""
        return await asyncio.gather(
            *(self.attempt(name, login, password, self._workers[number % WORKERS]) for number in range(times))
        )

    async def cost(self, name: str, login: str, **fields: Any) -> tuple[str, int, int]:
        """Return the code for a wrong password, the number of hashes, and the number of database queries."""

        async def nothing() -> None:
            pass

        asked = SteppedDatabase(self._database, -1, nothing)
        hashed = self.hasher.work
        code = await self.attempt(name, login, "wrong", self._on(cast(MongoDatabase, asked)), **fields)
        return code, self.hasher.work - hashed, asked.taken

    def _on(self, database: MongoDatabase) -> Ports:
        return fakes.ports(
            tenants=MongoTenants(database),
            users=MongoUsers(database),
            sessions=MongoSessions(database),
            attempts=MongoAttempts(database),
            audit=MongoAudit(database, timedelta(days=1)),
            hasher=self.hasher,
            clock=self.clock,
            throttle=self._throttle,
        )


LOGINS = [("auth.login", "ann", "nobody"), ("tenant.login", "shop@example.com", "nobody@example.com")]


@pytest.mark.parametrize(("name", "known", "unknown"), LOGINS)
async def test_concurrent_wrong_logins_at_several_workers_hash_up_to_the_limit(
    mongo_database: MongoDatabase, name: str, known: str, unknown: str
) -> None:
    world = await World.begin(mongo_database)
    for login in (known, unknown):
        hashed = world.hasher.work
        codes = await world.attempt_at_once(name, login, "wrong", 50)
        assert codes.count(InvalidCredentials.code) == fakes.LIMIT.undelayed
        assert codes.count(Throttled.code) == 50 - fakes.LIMIT.undelayed
        assert world.hasher.work - hashed == fakes.LIMIT.undelayed


@pytest.mark.parametrize(
    "spellings", [("Am\u00e9lie", "Ame\u0301lie"), ("Nobody\u00f3", "Nobodyo\u0301")], ids=["known", "unknown"]
)
async def test_wrong_logins_in_two_spellings_share_one_count(
    mongo_database: MongoDatabase, spellings: tuple[str, str]
) -> None:
    world = await World.begin(mongo_database)
    codes = [await world.attempt("auth.login", spellings[number % 2], "wrong") for number in range(12)]
    assert codes.count(InvalidCredentials.code) == fakes.LIMIT.undelayed


async def test_right_login_of_an_account_with_the_other_spelling_keeps_the_count(mongo_database: MongoDatabase) -> None:
    """Accounts stored before normalization, whose logins differ only in their Unicode form, have separate counts."""
    world = await World.begin(mongo_database)
    await world.add("Ame\u0301lie", "another password")
    for _ in range(fakes.LIMIT.undelayed):
        assert await world.attempt("auth.login", "Am\u00e9lie", "wrong") == InvalidCredentials.code
    assert await world.attempt("auth.login", "Ame\u0301lie", "another password") == "ok"
    assert await world.attempt("auth.login", "Am\u00e9lie", "wrong") == Throttled.code


@pytest.mark.parametrize(("name", "known", "unknown"), LOGINS)
async def test_consecutive_wrong_logins_at_several_workers_hash_up_to_the_lock(
    mongo_database: MongoDatabase, name: str, known: str, unknown: str
) -> None:
    allowed = 2 * fakes.LIMIT.undelayed + 2
    account_limit = replace(fakes.STRANGERS, max_consecutive=allowed)
    world = await World.begin(mongo_database, replace(fakes.THROTTLE, account=account_limit))
    for login in (known, unknown):
        hashed = world.hasher.work
        for _ in range(4):
            await world.attempt_at_once(name, login, "wrong", 20)
            world.clock.advance(account_limit.window)
        assert world.hasher.work - hashed == allowed
        assert await world.attempt(name, login, PASSWORD) == Throttled.code


@pytest.mark.parametrize(("name", "known", "unknown"), LOGINS)
async def test_concurrent_right_logins_at_several_workers_succeed(
    mongo_database: MongoDatabase, name: str, known: str, unknown: str
) -> None:
    world = await World.begin(mongo_database)
    assert set(await world.attempt_at_once(name, known, PASSWORD, 30)) == {"ok"}
    assert set(await world.attempt_at_once(name, unknown, PASSWORD, 4)) == {InvalidCredentials.code}


#: Logins typed in NFD: of an account in NFC, of an account stored in NFD, and of no account.
SPELLINGS = [
    ("auth.login", "Ame\u0301lie", "Nobody\u0301"),
    ("auth.login", "Zoe\u0308", "Nobody\u0301"),
]


@pytest.mark.parametrize("login", [*LOGINS, *SPELLINGS], ids=lambda login: ascii(login[:2]))
@pytest.mark.parametrize("used_before", [False, True])
@pytest.mark.parametrize("origin", [{}, {"clientAddress": HOME}])
async def test_login_of_known_and_unknown_accounts_costs_the_same(
    mongo_database: MongoDatabase, login: tuple[str, str, str], used_before: bool, origin: dict[str, str]
) -> None:
    """The numbers of hashes and queries are equal, also while throttled and for accounts that were used before."""
    name, known, unknown = login
    world = await World.begin(mongo_database)
    if used_before:
        assert await world.attempt(name, known, PASSWORD) == "ok"
    times = fakes.LIMIT.undelayed + 2
    assert [await world.cost(name, known, **origin) for _ in range(times)] == [
        await world.cost(name, unknown, **origin) for _ in range(times)
    ]
