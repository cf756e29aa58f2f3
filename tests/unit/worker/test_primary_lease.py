"""The lease on the primary: which answers it covers, and what callers get without it."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator

import pytest
from pymongo.errors import AutoReconnect, ExecutionTimeout, NetworkTimeout, NotPrimaryError
from pymongo.hello import Hello
from pymongo.server_description import ServerDescription

from shared.contracts.errors import Unavailable
from shared.process.background import background_task
from worker.adapters.mongo_routers import one_router
from worker.adapters.primary_lease import ELECTION_SECONDS, LEASE_SECONDS, PrimaryLease, Server

OLD, NEW = ("old", 27017), ("new", 27017)
#: Bounds how long a broken test waits.
WAITING_SECONDS = 30


class ReplicaSet:
    """Its `primary` answers queries, and confirms that it is the primary unless there is an `error`."""

    def __init__(self) -> None:
        self.primary: Server = OLD
        self.error: Exception | None = None
        self.proofs = 0
        self.queries = 0
        self.takes_seconds = 0.0
        """How long each confirmation takes, on the clock of the lease."""
        self._skipped_seconds = 0.0

    def now(self) -> float:
        return time.monotonic() + self._skipped_seconds

    def let_pass(self, seconds: float) -> None:
        self._skipped_seconds += seconds

    async def prove(self) -> Server:
        self.proofs += 1
        self.let_pass(self.takes_seconds)
        if self.error:
            raise self.error
        return self.primary

    async def query(self) -> tuple[str, Server]:
        self.queries += 1
        return f"answer {self.queries}", self.primary


@pytest.fixture
def replica_set() -> ReplicaSet:
    return ReplicaSet()


@pytest.fixture
async def lease(replica_set: ReplicaSet) -> AsyncIterator[PrimaryLease]:
    lease = PrimaryLease(replica_set.prove, replica_set.now)
    async with background_task(lease.renew_forever()), asyncio.timeout(WAITING_SECONDS):
        yield lease


async def test_first_query_waits_for_the_first_confirmation(replica_set: ReplicaSet) -> None:
    lease = PrimaryLease(replica_set.prove, replica_set.now)
    query = asyncio.create_task(lease.covered(replica_set.query))
    await asyncio.sleep(0)
    assert not query.done()
    async with background_task(lease.renew_forever()), asyncio.timeout(WAITING_SECONDS):
        assert await query == "answer 1"


async def test_query_after_the_lease_has_expired_waits_for_a_confirmation(
    lease: PrimaryLease, replica_set: ReplicaSet
) -> None:
    assert await lease.awaited()
    confirmed = replica_set.proofs
    replica_set.let_pass(LEASE_SECONDS)
    assert not lease.is_held
    assert await lease.covered(replica_set.query) == "answer 1"
    assert replica_set.proofs > confirmed


async def test_answer_that_comes_after_the_lease_has_expired_is_asked_for_again(
    lease: PrimaryLease, replica_set: ReplicaSet
) -> None:
    async def slow_once() -> tuple[str, Server]:
        if not replica_set.queries:
            replica_set.let_pass(LEASE_SECONDS)
        return await replica_set.query()

    assert await lease.covered(slow_once) == "answer 2"


async def test_answer_of_a_new_primary_is_asked_for_again_after_its_confirmation(
    lease: PrimaryLease, replica_set: ReplicaSet
) -> None:
    assert await lease.awaited()
    confirmed = replica_set.proofs
    replica_set.primary = NEW
    assert await lease.covered(replica_set.query) == "answer 2"
    assert replica_set.proofs > confirmed
    assert await lease.covered(replica_set.query) == "answer 3"


async def test_answers_of_a_server_that_was_not_confirmed_are_unavailable(
    lease: PrimaryLease, replica_set: ReplicaSet
) -> None:
    async def stray() -> tuple[str, Server]:
        return "stale", NEW

    with pytest.raises(Unavailable, match="primary changes"):
        await lease.covered(stray)
    assert await lease.covered(replica_set.query) == "answer 1"


@pytest.mark.parametrize("error", [ExecutionTimeout("no majority", 50), NetworkTimeout("silent"), RuntimeError("bug")])
async def test_primary_that_is_not_confirmed_refuses_queries_at_once(
    lease: PrimaryLease, replica_set: ReplicaSet, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert await lease.awaited()
    replica_set.error = error
    replica_set.let_pass(LEASE_SECONDS)
    assert not await lease.awaited()
    refused = [asyncio.create_task(lease.covered(replica_set.query)) for _ in range(3)]
    await asyncio.sleep(0)
    assert all(task.done() and isinstance(task.exception(), Unavailable) for task in refused)
    assert replica_set.queries == 0

    replica_set.error = None
    while not await lease.awaited():  # noqa: ASYNC110 - a later renewal brings it about
        await asyncio.sleep(0.01)
    assert await lease.covered(replica_set.query) == "answer 1"
    said = [record.getMessage() for record in caplog.records if record.name.endswith("primary_lease")]
    assert said[-2:] == [
        "database does not confirm that it is the primary, tokens are refused until it does",
        "database is confirmed to be the primary again",
    ]


async def test_query_during_an_election_waits_for_the_new_primary(lease: PrimaryLease, replica_set: ReplicaSet) -> None:
    assert await lease.awaited()
    replica_set.error = NotPrimaryError("election")
    replica_set.let_pass(LEASE_SECONDS)
    failed = replica_set.proofs
    query = asyncio.create_task(lease.covered(replica_set.query))
    while replica_set.proofs == failed:  # noqa: ASYNC110 - the renewal in the background brings it about
        await asyncio.sleep(0)
    assert not query.done()
    replica_set.error, replica_set.primary = None, NEW
    assert await query == "answer 1"


async def test_query_without_a_primary_is_refused_after_two_seconds(
    lease: PrimaryLease, replica_set: ReplicaSet
) -> None:
    assert await lease.awaited()
    replica_set.error = NotPrimaryError("election")
    replica_set.let_pass(LEASE_SECONDS)
    started = time.monotonic()
    with pytest.raises(Unavailable, match="does not confirm"):
        await lease.covered(replica_set.query)
    assert time.monotonic() - started >= ELECTION_SECONDS
    assert replica_set.queries == 0
    assert not await lease.awaited()


async def test_lost_lease_is_logged_once(replica_set: ReplicaSet, caplog: pytest.LogCaptureFixture) -> None:
    replica_set.error = AutoReconnect("election")
    lease = PrimaryLease(replica_set.prove, replica_set.now)
    async with background_task(lease.renew_forever()), asyncio.timeout(WAITING_SECONDS):
        while replica_set.proofs < 3:
            replica_set.let_pass(LEASE_SECONDS)
            await asyncio.sleep(0.01)
    assert len(caplog.records) == 1


async def test_confirmation_that_takes_longer_than_it_counts_is_none(replica_set: ReplicaSet) -> None:
    """Otherwise every query would wait for it, and be refused after that."""
    replica_set.takes_seconds = LEASE_SECONDS + 0.1
    lease = PrimaryLease(replica_set.prove, replica_set.now)
    async with background_task(lease.renew_forever()), asyncio.timeout(WAITING_SECONDS):
        assert not await lease.awaited()
        refused = asyncio.create_task(lease.covered(replica_set.query))
        await asyncio.sleep(0)
        assert isinstance(refused.exception(), Unavailable)


def _server(host: str, **hello: object) -> ServerDescription:
    return ServerDescription((host, 27017), Hello({"ok": 1, "isWritablePrimary": True, **hello}))


def test_router_chosen_among_several_is_the_same_each_time() -> None:
    routers = [_server(host, msg="isdbgrid") for host in ("a", "b", "c")]
    chosen = one_router(routers)
    assert len(chosen) == 1
    assert one_router(routers[::-1]) == chosen
    others = [router for router in routers if router not in chosen]
    assert len(one_router(others)) == 1


def test_members_of_a_replica_set_are_all_kept() -> None:
    members = [_server(host, setName="rs", hosts=["a:27017", "b:27017"]) for host in ("a", "b")]
    assert one_router(members) == members
    assert one_router([]) == []
