"""Whether the time that a refused login takes tells who has an account."""

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

#: Of each kind.
SAMPLES = 60
#: Some 3 ms: many times what the rest of a login takes here.
MEMORY_KIB, PASSES = 4_096, 1
#: Equal times pass but for one run in two billion: the rank statistic of equal samples is within six standard
#: deviations of one half.
SPREAD = 6 * ((2 * SAMPLES + 1) / (12 * SAMPLES * SAMPLES)) ** 0.5


@pytest.fixture
def hasher() -> Iterator[Argon2Hasher]:
    hasher = Argon2Hasher(threads=1, memory_kib=MEMORY_KIB, passes=PASSES)
    yield hasher
    hasher.close()


def slower(one: list[float], other: list[float]) -> float:
    """How often a time of the one is greater than one of the other (Mann and Whitney's U, as a share)."""
    return sum((a > b) + (a == b) / 2 for a in one for b in other) / (len(one) * len(other))


async def times_of_refusals(log_in: Callable[[str], Awaitable[None]], *names: str) -> dict[str, list[float]]:
    """How long each of them was refused, in random turns."""
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
async def test_times_do_not_tell_who_is_there(hasher: Argon2Hasher, operation: str) -> None:
    """Wrong password and no account take as long as each other, in random turns and compared by rank.

    It finds what is greater than the noise of this machine, such as a hash that is left out, or one of half the passes.
    It does not find microseconds, nor what real database and network add: `tests/contract/test_guessing.py` counts the
    questions to the database. Random turns make a busy machine slow for both kinds alike.
    """
    worker = InMemoryWorker(hasher=hasher, throttle=replace(THROTTLE, account=None, address=None))
    shop = await worker.register()
    await worker.create(shop)

    async def log_in(name: str) -> None:
        if operation == "tenant.login":
            await worker.call(TENANT_LOGIN, email=f"{name}@example.com", password="wrong")
        else:
            await worker.call(AUTH_LOGIN, tenantToken=shop, login=name, password="wrong", deviceId="phone")

    there, nobody = ("ann", "nobody") if operation == "auth.login" else ("shop", "nobody")
    taken = await times_of_refusals(log_in, there, nobody)
    assert abs(slower(taken[there], taken[nobody]) - 0.5) < SPREAD


async def test_times_do_not_tell_who_was_imported(hasher: Argon2Hasher) -> None:
    """Once the worker has met a bcrypt hash, an account with one, one with a hash of ours and none take as long."""
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
    taken = await times_of_refusals(log_in, "ann", "bob", "nobody")
    for name in ("ann", "bob"):
        assert abs(slower(taken[name], taken["nobody"]) - 0.5) < SPREAD


def test_the_measure_finds_a_difference() -> None:
    """Times that differ by more than their noise are told apart, equal ones are not."""
    chance = random.Random(1)
    base = [chance.gauss(3, 0.2) for _ in range(SAMPLES)]
    same = [chance.gauss(3, 0.2) for _ in range(SAMPLES)]
    longer = [chance.gauss(3.6, 0.2) for _ in range(SAMPLES)]
    assert abs(slower(base, same) - 0.5) < SPREAD
    assert abs(slower(base, longer) - 0.5) > SPREAD
