"""`MongoDatabase`: indexes, concerns and failures."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo import ReadPreference
from pymongo.errors import AutoReconnect, BulkWriteError, WTimeoutError

from dev.ports import free_port
from shared.contracts.errors import Unavailable
from tests.fakes import NOW
from tests.mongo_driver import connect
from tests.records import a_session, a_tenant, a_user
from worker.adapters.index_definitions import INDEXES
from worker.adapters.mongo_activity import MongoActivity
from worker.adapters.mongo_database import MongoDatabase, refused_as_duplicates
from worker.adapters.mongo_indexes import create_indexes
from worker.adapters.mongo_sessions import MongoSessions
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers


async def test_index_creation_repeated_concurrently_succeeds(mongo_database: MongoDatabase) -> None:
    await mongo_database.collection("users").drop_indexes()
    await asyncio.gather(*(create_indexes(mongo_database) for _ in range(5)))
    for name, indexes in INDEXES.items():
        present = await mongo_database.collection(name).index_information()
        assert {index.document["name"] for index in indexes} < set(present)


class Building(MongoDatabase):
    """A database in which an index of `users` is being built until the second look."""

    def __init__(self, database: Any) -> None:
        super().__init__(database)
        self.looks = 0

    async def indexes_in_progress(self, name: str) -> set[str]:
        if name != "users":
            return set()
        self.looks += 1
        return {"tenant_1_login_1"} if self.looks == 1 else set()


async def test_index_creation_during_a_build_waits_for_its_end(mongo_database: MongoDatabase) -> None:
    """A second `createIndexes` would wait behind the build inside the database, and outlive this client."""
    users = mongo_database.collection("users")
    await users.drop_indexes()
    building = Building(mongo_database.collection("users").database)
    waited: list[int] = []

    def wait(name: str) -> None:
        waited.append(building.looks)
        assert name == "users"

    created = await create_indexes(building, wait)
    assert waited == [1]
    assert building.looks == 2
    assert "users.tenant_1_login_1" in created
    assert await create_indexes(building) == []


async def test_index_in_progress_is_a_problem(mongo_database: MongoDatabase) -> None:
    """`listIndexes` returns it like a finished one, but it enforces and serves nothing yet."""
    (problem,) = await Building(mongo_database.collection("users").database).index_problems()
    assert problem == "index tenant_1_login_1 of users is being built; wait until it is done"
    assert await mongo_database.index_problems() == []


async def test_ping_of_a_reachable_database_succeeds(mongo_database: MongoDatabase) -> None:
    assert await mongo_database.ping()


async def test_stored_time_is_read_with_its_timezone(mongo_database: MongoDatabase) -> None:
    users = MongoUsers(mongo_database)
    user = a_user()
    await users.add(user)
    found = await users.find(user.tenant, user.login)
    assert found is not None
    assert found.registered_at.utcoffset() == datetime.now(UTC).utcoffset()


async def test_unreachable_database_makes_operations_unavailable() -> None:
    """A ping returns False, and pending activity is dropped."""
    async with connect(f"mongodb://127.0.0.1:{free_port()}/away") as database:
        users, sessions, tenants = MongoUsers(database), MongoSessions(database), MongoTenants(database)
        activity = MongoActivity(database)
        activity.seen(a_session(), NOW)
        *failures, ping, written = await asyncio.gather(
            users.add(a_user()),
            users.find("shop", "ann"),
            users.is_current(a_user()),
            users.page("shop", "", "", 1),
            sessions.add(a_session()),
            sessions.find(["id"]),
            sessions.announced_after("shop", NOW, "", 1),
            sessions.unannounced_of("shop", 1),
            tenants.add(a_tenant()),
            tenants.find_by_email("shop@example.com"),
            database.ping(),
            activity.write(),
            return_exceptions=True,
        )
    assert {type(failure) for failure in failures} == {Unavailable}
    assert ping is False
    assert written is None


@pytest.mark.parametrize("name", list(INDEXES))
async def test_collection_uses_majority_writes_and_primary_reads(mongo_database: MongoDatabase, name: str) -> None:
    collection = mongo_database.collection(name)
    assert collection.write_concern.document == {"w": "majority", "j": True, "wtimeout": 2000}
    assert collection.read_preference == ReadPreference.PRIMARY
    assert collection.read_concern.document == {"level": "local"}


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"writeConcernErrors": [{"code": 64}], "writeErrors": [{"index": 1, "code": 11000}]}, WTimeoutError),
        (
            {"writeConcernErrors": [], "writeErrors": [{"index": 1, "code": 11000}, {"index": 2, "code": 121}]},
            RuntimeError,
        ),
        (
            {"writeConcernErrors": [], "writeErrors": [{"index": 1, "code": 11000}, {"index": 2, "code": 11602}]},
            AutoReconnect,
        ),
    ],
    ids=["not durable", "another error", "an election"],
)
def test_bulk_write_that_failed_otherwise_raises_an_error_without_documents(
    details: Any, expected: type[Exception]
) -> None:
    """The error of the driver contains the documents."""
    for each in details["writeErrors"]:
        each["op"] = each["errmsg"] = "a document with a hash"
    driver_error = BulkWriteError(details)
    assert "a hash" in str(driver_error)
    with pytest.raises(expected) as caught:
        refused_as_duplicates(driver_error)
    assert "a hash" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("collection", "options"),
    [
        ("sessions", {"keys": [("outbox", 1)]}),
        ("sessions", {"keys": [("tenant", 1), ("outbox", 1)]}),
        ("sessions", {"keys": [("tenant", 1), ("outbox", 1)], "partialFilterExpression": {"outbox": {"$gt": NOW}}}),
        ("users", {"keys": [("tenant", 1), ("login", 1)], "unique": True, "sparse": True}),
        ("audit", {"keys": [("expires_at", 1)], "expireAfterSeconds": 60}),
        ("tenants", {"keys": [("email", 1)], "unique": True, "name": "of_an_operator"}),
        ("attempts", {"keys": [("kept_until", 1)], "name": "of_an_operator"}),
    ],
    ids=["not sparse", "not partial", "another filter", "sparse too", "another time", "another name", "no time"],
)
async def test_index_with_other_options_is_named(mongo_url: str, collection: str, options: dict[str, Any]) -> None:
    """`createIndexes` would refuse the expected one without naming what to drop, or workers would use a wrong one."""
    async with connect(mongo_url) as database:
        name = await database.collection(collection).create_index(**options)
        expected = f"index {name} of {collection} has another definition than expected; drop it"
        assert await database.index_conflicts() == [expected]
        await database.collection(collection).drop_index(name)
        await create_indexes(database)
        assert await database.index_problems() == []


async def test_further_index_that_the_database_keeps_beside_the_expected_one_is_no_conflict(
    mongo_database: MongoDatabase,
) -> None:
    """An operator may have indexes of their own."""
    await mongo_database.collection("sessions").create_index([("outbox", 1)], name="of_an_operator")
    await mongo_database.collection("sessions").create_index([("login", 1)])
    assert await mongo_database.index_problems() == []
