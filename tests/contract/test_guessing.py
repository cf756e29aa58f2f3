"""Logins on the real database, by several workers at once: what is hashed, and what the database is asked."""

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
    """A tenant and its users, ann and two with accents, and workers that share a database and nothing else."""

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
        """One more user of the tenant, as a worker of before might have stored it."""
        worker = self._workers[0]
        tenant = await worker.tenants.find_by_email("shop@example.com")
        assert tenant is not None
        password_hash = await self.hasher.hash(password)
        await worker.users.add(a_user(tenant=tenant.id, login=login, password_hash=password_hash))

    async def log_in(self, name: str, who: str, password: str, worker: Ports | None = None, **fields: Any) -> str:
        """`ok`, or the code of the refusal."""
        operation = OPERATIONS[name]
        members = {
            "tenantToken": self._token,
            "deviceId": "phone",
            "login": who,
            "email": who,
            "password": password,
            **fields,
        }
        call = Call(f"{name} {asyncio.current_task()} {password}")
        try:
            await HANDLERS[name](operation.request.model_validate(members), call, worker or self._workers[0])
        except AuthError as error:
            return error.code
        return "ok"

    async def log_in_at_once(self, name: str, who: str, password: str, times: int) -> Sequence[str]:
        """So many at the same time, by all workers in turn."""
        return await asyncio.gather(
            *(self.log_in(name, who, password, self._workers[number % WORKERS]) for number in range(times))
        )

    async def work(self, name: str, who: str, **fields: Any) -> tuple[str, int, int]:
        """What a wrong password is answered, how much is hashed, and how often the database is asked."""

        async def nothing() -> None:
            pass

        asked = SteppedDatabase(self._database, -1, nothing)
        hashed = self.hasher.work
        code = await self.log_in(name, who, "wrong", self._on(cast(MongoDatabase, asked)), **fields)
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
async def test_guesses_at_once_at_several_workers(
    mongo_database: MongoDatabase, name: str, known: str, unknown: str
) -> None:
    """Of 50 wrong logins exactly those are hashed that are free, at an account and at none."""
    world = await World.begin(mongo_database)
    for who in (known, unknown):
        hashed = world.hasher.work
        codes = await world.log_in_at_once(name, who, "wrong", 50)
        assert codes.count(InvalidCredentials.code) == fakes.LIMIT.undelayed
        assert codes.count(Throttled.code) == 50 - fakes.LIMIT.undelayed
        assert world.hasher.work - hashed == fakes.LIMIT.undelayed


@pytest.mark.parametrize(
    "spellings", [("Am\u00e9lie", "Ame\u0301lie"), ("Nobody\u00f3", "Nobodyo\u0301")], ids=["known", "unknown"]
)
async def test_another_spelling_is_no_further_guess(mongo_database: MongoDatabase, spellings: tuple[str, str]) -> None:
    """All spellings that reach an account, or none, are counted together."""
    world = await World.begin(mongo_database)
    codes = [await world.log_in("auth.login", spellings[number % 2], "wrong") for number in range(12)]
    assert codes.count(InvalidCredentials.code) == fakes.LIMIT.undelayed


async def test_a_right_login_at_a_namesake_forgives_no_guess(mongo_database: MongoDatabase) -> None:
    """Accounts from before, whose logins differ in their form alone, are counted apart."""
    world = await World.begin(mongo_database)
    await world.add("Ame\u0301lie", "another password")
    for _ in range(fakes.LIMIT.undelayed):
        assert await world.log_in("auth.login", "Am\u00e9lie", "wrong") == InvalidCredentials.code
    assert await world.log_in("auth.login", "Ame\u0301lie", "another password") == "ok"
    assert await world.log_in("auth.login", "Am\u00e9lie", "wrong") == Throttled.code


@pytest.mark.parametrize(("name", "known", "unknown"), LOGINS)
async def test_guesses_in_a_row_at_several_workers(
    mongo_database: MongoDatabase, name: str, known: str, unknown: str
) -> None:
    """However many come at once, hour after hour, no more are hashed in a row than may be; at an account and none."""
    most = 2 * fakes.LIMIT.undelayed + 2
    strangers = replace(fakes.STRANGERS, max_consecutive=most)
    world = await World.begin(mongo_database, replace(fakes.THROTTLE, account=strangers))
    for who in (known, unknown):
        hashed = world.hasher.work
        for _ in range(4):
            await world.log_in_at_once(name, who, "wrong", 20)
            world.clock.advance(strangers.window)
        assert world.hasher.work - hashed == most
        assert await world.log_in(name, who, PASSWORD) == Throttled.code


@pytest.mark.parametrize(("name", "known", "unknown"), LOGINS)
async def test_right_ones_at_once_at_several_workers(
    mongo_database: MongoDatabase, name: str, known: str, unknown: str
) -> None:
    """Whoever knows the password is in nobody's way."""
    world = await World.begin(mongo_database)
    assert set(await world.log_in_at_once(name, known, PASSWORD, 30)) == {"ok"}
    assert set(await world.log_in_at_once(name, unknown, PASSWORD, 4)) == {InvalidCredentials.code}


#: Logins that are typed in NFD: of an account in NFC, of one that was stored in NFD, and of nobody.
SPELLINGS = [
    ("auth.login", "Ame\u0301lie", "Nobody\u0301"),
    ("auth.login", "Zoe\u0308", "Nobody\u0301"),
]


@pytest.mark.parametrize("login", [*LOGINS, *SPELLINGS], ids=lambda login: ascii(login[:2]))
@pytest.mark.parametrize("has_been_there", [False, True])
@pytest.mark.parametrize("where", [{}, {"clientAddress": HOME}])
async def test_known_and_unknown_cost_the_same(
    mongo_database: MongoDatabase, login: tuple[str, str, str], has_been_there: bool, where: dict[str, str]
) -> None:
    """As many hashes and as many questions to the database, also while throttled, and when the account was in use."""
    name, known, unknown = login
    world = await World.begin(mongo_database)
    if has_been_there:
        assert await world.log_in(name, known, PASSWORD) == "ok"
    times = fakes.LIMIT.undelayed + 2
    assert [await world.work(name, known, **where) for _ in range(times)] == [
        await world.work(name, unknown, **where) for _ in range(times)
    ]
