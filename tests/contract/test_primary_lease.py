"""Sessions under the lease on the primary, over a link that behaves like a primary without a majority."""

import asyncio
import functools
from collections.abc import AsyncIterator

import pytest

from shared.contracts.errors import Unavailable
from shared.process.background import background_task
from tests.mongo_driver import connect
from tests.primary_link import PrimaryLink
from tests.records import a_session
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_indexes import create_indexes
from worker.adapters.mongo_sessions import MongoSessions
from worker.adapters.primary_lease import (
    NOT_A_REPLICA_SET,
    PrimaryLease,
    ProvenDatabase,
    confirm_primary,
    lease_problems,
)

#: MongoDB's InvalidOptions: a compatible product that knows no linearizable reads.
UNSUPPORTED = 72
#: On a busy machine.
PATIENCE_SECONDS = 60.0


@pytest.fixture
async def link(mongo_url: str) -> AsyncIterator[PrimaryLink]:
    async with PrimaryLink(mongo_url) as link:
        yield link


@pytest.fixture
async def database(link: PrimaryLink) -> AsyncIterator[MongoDatabase]:
    async with connect(link.url) as database:
        await create_indexes(database)
        yield database


@pytest.fixture
async def lease(database: MongoDatabase) -> AsyncIterator[PrimaryLease]:
    lease = PrimaryLease(functools.partial(confirm_primary, database))
    async with background_task(lease.renew_forever()), asyncio.timeout(PATIENCE_SECONDS):
        yield lease


async def test_session_is_found_while_the_primary_has_its_majority(
    link: PrimaryLink, database: MongoDatabase, lease: PrimaryLease
) -> None:
    sessions = MongoSessions(database, lease=lease)
    session = await sessions.add(a_session())
    assert (await sessions.find([session.id])).keys() == {session.id}
    assert await sessions.find(["unknown"]) == {}
    assert await ProvenDatabase(database, lease).ping()
    assert "linearizable" in link.finds


async def test_session_is_unavailable_while_the_primary_has_no_majority(
    link: PrimaryLink, database: MongoDatabase, lease: PrimaryLease
) -> None:
    sessions, proven = MongoSessions(database, lease=lease), ProvenDatabase(database, lease)
    session = await sessions.add(a_session())
    assert await sessions.find([session.id])
    link.deposed = True
    while lease.is_held:  # noqa: ASYNC110 - it expires with time
        await asyncio.sleep(0.01)
    with pytest.raises(Unavailable, match="does not confirm that it is the primary"):
        await sessions.find([session.id])
    while await proven.ping():  # noqa: ASYNC110 - not ready once a planned election would be over
        await asyncio.sleep(0.05)
    assert await database.ping(), "only the lease knows"

    link.deposed = False
    while not await proven.ping():  # noqa: ASYNC110 - a later renewal brings it about
        await asyncio.sleep(0.01)
    assert await sessions.find([session.id])


async def test_session_without_the_lease_is_found_on_a_deposed_primary(
    link: PrimaryLink, database: MongoDatabase
) -> None:
    """This is what AUTH_PRIMARY_LEASE=false gives up."""
    sessions = MongoSessions(database)
    session = await sessions.add(a_session())
    link.deposed = True
    assert await sessions.find([session.id])
    assert link.finds == ["local"]


async def test_standalone_server_counts_as_confirmed(
    link: PrimaryLink, database: MongoDatabase, lease: PrimaryLease
) -> None:
    link.linearizable_error = NOT_A_REPLICA_SET
    sessions = MongoSessions(database, lease=lease)
    session = await sessions.add(a_session())
    while link.finds[-2:] != ["linearizable", "local"]:  # noqa: ASYNC110 - a later renewal brings it about
        await asyncio.sleep(0.01)
    assert await sessions.find([session.id])
    assert await lease_problems(database) == []


async def test_database_without_linearizable_reads_is_named_by_the_check(
    link: PrimaryLink, database: MongoDatabase
) -> None:
    assert await lease_problems(database) == []
    link.linearizable_error = UNSUPPORTED
    assert await lease_problems(database) == [
        "refuses linearizable reads with error 72, so workers would refuse all tokens. Use a replica set of MongoDB, or"
        " set AUTH_PRIMARY_LEASE to false"
    ]


async def test_primary_without_a_majority_is_named_by_the_check(link: PrimaryLink, database: MongoDatabase) -> None:
    link.deposed = True
    (problem,) = await lease_problems(database)
    assert problem.startswith("is not confirmed by a majority within 0.5 s to be the primary")
