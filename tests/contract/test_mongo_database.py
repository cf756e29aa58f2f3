"""The database itself: its indexes, and what its absence means to an operation."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo import IndexModel, ReadPreference
from pymongo.errors import BulkWriteError, NetworkTimeout, OperationFailure, WTimeoutError

from dev.ports import free_port
from shared.contracts.errors import Unavailable
from tests.fakes import NOW
from tests.records import a_session, a_tenant, a_user
from worker.adapters.mongo_activity import MongoActivity
from worker.adapters.mongo_database import INDEXES, MongoDatabase, connect, refused_as_duplicates
from worker.adapters.mongo_sessions import MongoSessions
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers


async def test_prepare_may_be_repeated_by_many_at_once(mongo_database: MongoDatabase) -> None:
    """Every worker prepares the database when it starts."""
    await asyncio.gather(*(mongo_database.prepare() for _ in range(5)))
    for name, indexes in INDEXES.items():
        present = await mongo_database.collection(name).index_information()
        assert {index.document["name"] for index in indexes} < set(present)


async def test_an_index_of_other_options_is_not_passed_over(mongo_database: MongoDatabase) -> None:
    """A worker that started all the same would keep sessions for another time than it is meant to."""
    sessions = mongo_database.collection("sessions")
    await sessions.drop_index("expires_at_1")
    await sessions.create_index([("expires_at", 1)], expireAfterSeconds=3600)
    with pytest.raises(OperationFailure):
        await mongo_database.prepare()


async def test_an_index_that_takes_long_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """The driver gives up on an answer after seconds, the build goes on; and the log says what it may be."""
    slow: Any = SlowDatabase()
    await MongoDatabase(slow).prepare()
    assert slow.asked == ["tenants", *INDEXES]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "indexes are being built, or the database is silent; trying again"
    ]


class SlowDatabase:
    """Does not answer the first request to create indexes."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getitem__(self, name: str) -> "SlowDatabase":
        self.asked.append(name)
        return self

    async def create_indexes(self, indexes: list[IndexModel]) -> None:
        assert indexes
        if len(self.asked) == 1:
            raise NetworkTimeout("timed out")


async def test_a_database_that_is_there_answers(mongo_database: MongoDatabase) -> None:
    """A ping is answered."""
    assert await mongo_database.ping()


async def test_times_come_back_aware(mongo_database: MongoDatabase) -> None:
    """A time read from the database can be compared with the clock's."""
    users = MongoUsers(mongo_database)
    user = a_user()
    await users.add(user)
    found = await users.find(user.tenant, user.login)
    assert found is not None
    assert found.registered_at.utcoffset() == datetime.now(UTC).utcoffset()


async def test_a_database_that_is_away_is_unavailable() -> None:
    """Every operation that needs it says so within its deadline, a ping answers no, and activity is let go."""
    async with connect(f"mongodb://127.0.0.1:{free_port()}/away") as database:
        users, sessions, tenants = MongoUsers(database), MongoSessions(database), MongoTenants(database)
        activity = MongoActivity(database)
        activity.seen("ann", NOW)
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
async def test_every_collection_is_written_durably(mongo_database: MongoDatabase, name: str) -> None:
    """What is acknowledged has reached a majority and their journals, and is read from where it is written."""
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
    ],
    ids=["not durable", "another error"],
)
def test_a_bulk_that_failed_otherwise_is_no_bulk_of_duplicates(details: Any, expected: type[Exception]) -> None:
    """It is an error, and none of the documents, which the driver's error holds, is in it."""
    for each in details["writeErrors"]:
        each["op"] = each["errmsg"] = "a document with a hash"
    driver_error = BulkWriteError(details)
    assert "a hash" in str(driver_error)
    with pytest.raises(expected) as caught:
        refused_as_duplicates(driver_error)
    assert "a hash" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
