"""Whether the duration of a refused login reveals that an account exists."""

import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

import bcrypt
import pytest

from shared.contracts.auth_login import AUTH_LOGIN
from shared.contracts.errors import InvalidCredentials
from shared.contracts.tenant_login import TENANT_LOGIN
from tests.fakes import THROTTLE, FakeUsers
from tests.records import a_user
from tests.unit.worker.in_memory import InMemoryWorker
from worker.adapters.argon2_hasher import Argon2Hasher

#: Number of logins of each kind.
SAMPLES = 60
#: About 3 ms, many times the rest of a login in this test.
MEMORY_KIB, PASSES = 4_096, 1
#: The allowed deviation: the rank statistic of equal distributions stays within six standard deviations of one half,
#: except once in two billion runs.
SPREAD = 6 * ((2 * SAMPLES + 1) / (12 * SAMPLES * SAMPLES)) ** 0.5


@pytest.fixture
def hasher() -> Iterator[Argon2Hasher]:
    hasher = Argon2Hasher(threads=1, memory_kib=MEMORY_KIB, passes=PASSES)
    yield hasher
    hasher.close()


def slower(one: list[float], other: list[float]) -> float:
    """Return the share of pairs in which a time of `one` is greater (the Mann-Whitney U statistic)."""
    return sum((a > b) + (a == b) / 2 for a in one for b in other) / (len(one) * len(other))


async def times_of_refusals(log_in: Callable[[str], Awaitable[None]], *names: str) -> dict[str, list[float]]:
    """Measure the refusals of each name, in random order."""
    taken: dict[str, list[float]] = {name: [] for name in names}
    turns = list(names) * SAMPLES
    random.shuffle(turns)
    for name in turns:
        began = time.perf_counter()
        with pytest.raises(InvalidCredentials):
            await log_in(name)
        taken[name].append(time.perf_counter() - began)
    return taken


@pytest.mark.parametrize("operation", ["auth.login", "tenant.login"])
async def test_refused_login_takes_as_long_for_an_unknown_account(hasher: Argon2Hasher, operation: str) -> None:
    """The times of a wrong password and of an unknown account are compared by rank, in random order.

    The test detects differences above the noise of the machine, such as a missing hash or one of half the passes.
    It does not detect microseconds or the cost of a real database: `tests/contract/test_throttling.py` counts the
    queries. The random order spreads slow phases of the machine over both kinds.
    """
    worker = InMemoryWorker(hasher=hasher, throttle=replace(THROTTLE, account=None, address=None))
    shop = await worker.register()
    await worker.create(shop)

    async def log_in(name: str) -> None:
        if operation == "tenant.login":
            await worker.call(TENANT_LOGIN, email=f"{name}@example.com", password="wrong")
        else:
            await worker.call(AUTH_LOGIN, tenantToken=shop, login=name, password="wrong", deviceId="phone")

    known, unknown = ("ann", "unknown") if operation == "auth.login" else ("shop", "unknown")
    taken = await times_of_refusals(log_in, known, unknown)
    assert abs(slower(taken[known], taken[unknown]) - 0.5) < SPREAD


async def test_refused_login_takes_as_long_for_an_imported_account(hasher: Argon2Hasher) -> None:
    """This holds once the worker has verified a bcrypt hash."""
    users = FakeUsers()
    worker = InMemoryWorker(users=users, hasher=hasher, throttle=replace(THROTTLE, account=None, address=None))
    shop = await worker.register()
    ann = await worker.create(shop)
    imported = bcrypt.hashpw(b"another password", bcrypt.gensalt(8)).decode()
    await users.add_new([a_user(tenant=ann.tenant, login="bob", password_hash=imported)])

    async def log_in(name: str) -> None:
        await worker.call(AUTH_LOGIN, tenantToken=shop, login=name, password="wrong", deviceId="phone")

    with pytest.raises(InvalidCredentials):
        await log_in("bob")
    taken = await times_of_refusals(log_in, "ann", "bob", "unknown")
    for name in ("ann", "bob"):
        assert abs(slower(taken[name], taken["unknown"]) - 0.5) < SPREAD


def test_rank_statistic_detects_a_difference_above_the_noise() -> None:
    chance = random.Random(1)
    base = [chance.gauss(3, 0.2) for _ in range(SAMPLES)]
    same = [chance.gauss(3, 0.2) for _ in range(SAMPLES)]
    longer = [chance.gauss(3.6, 0.2) for _ in range(SAMPLES)]
    assert abs(slower(base, same) - 0.5) < SPREAD
    assert abs(slower(base, longer) - 0.5) > SPREAD
