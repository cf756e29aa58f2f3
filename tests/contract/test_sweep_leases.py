"""Contract of `SweepLeases`: of several workers, one at a time does a piece of work."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from tests.fakes import NOW, FakeSweepLeases
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_sweep_leases import MongoSweepLeases

LEASE = timedelta(seconds=10)
LATER = NOW + LEASE

AnyLeases = FakeSweepLeases | MongoSweepLeases


@pytest.fixture(params=["fake", "mongo"])
def of_worker(request: pytest.FixtureRequest) -> Callable[[str], AnyLeases]:
    """Return a function that returns the leases as one worker sees them."""
    if request.param == "fake":
        held: dict[str, tuple[str, datetime]] = {}
        return lambda owner: FakeSweepLeases(owner, held)
    database: MongoDatabase = request.getfixturevalue("mongo_database")
    return lambda owner: MongoSweepLeases(database, owner)


async def test_lease_of_one_worker_is_refused_to_another_until_it_ends(of_worker: Callable[[str], AnyLeases]) -> None:
    first, second = of_worker("first"), of_worker("second")
    assert await first.take(["shop", "bank"], NOW, LATER) == {"shop", "bank"}
    assert await second.take(["shop", "market"], NOW, LATER) == {"market"}
    assert await second.take(["shop", "market"], LATER, LATER + LEASE) == {"shop", "market"}
    assert await first.take(["shop", "bank"], LATER, LATER + LEASE) == {"bank"}


async def test_holder_extends_its_lease(of_worker: Callable[[str], AnyLeases]) -> None:
    first, second = of_worker("first"), of_worker("second")
    half = NOW + LEASE / 2
    for now in (NOW, half):
        assert await first.take(["shop"], now, now + LEASE) == {"shop"}
    assert await second.take(["shop"], LATER, LATER + LEASE) == set()
    assert await second.take(["shop"], half + LEASE, half + 2 * LEASE) == {"shop"}


async def test_released_lease_is_free_at_once(of_worker: Callable[[str], AnyLeases]) -> None:
    first, second = of_worker("first"), of_worker("second")
    await first.take(["shop"], NOW, LATER)
    await second.take(["bank"], NOW, LATER)
    await first.release()
    assert await second.take(["shop"], NOW, LATER) == {"shop"}
    assert await first.take(["bank"], NOW, LATER) == set()


async def test_lease_taken_concurrently_goes_to_one_worker(of_worker: Callable[[str], AnyLeases]) -> None:
    workers = [of_worker(f"worker {number}") for number in range(8)]
    names = [f"tenant {number}" for number in range(20)]
    taken = await asyncio.gather(*(worker.take(names, NOW, LATER) for worker in workers))
    assert sorted(name for each in taken for name in each) == sorted(names)


async def test_no_names_take_no_lease(of_worker: Callable[[str], AnyLeases]) -> None:
    assert await of_worker("first").take([], NOW, LATER) == set()
