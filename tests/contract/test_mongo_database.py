"""`MongoDatabase`: indexes, concerns and failures."""

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


async def test_concurrent_prepare_creates_every_index(mongo_database: MongoDatabase) -> None:
    await asyncio.gather(*(mongo_database.prepare() for _ in range(5)))
    for name, indexes in INDEXES.items():
        present = await mongo_database.collection(name).index_information()
        assert {index.document["name"] for index in indexes} < set(present)


async def test_prepare_with_an_index_of_other_options_fails(mongo_database: MongoDatabase) -> None:
    """A worker that started anyway would keep sessions longer or shorter than configured."""
    sessions = mongo_database.collection("sessions")
    await sessions.drop_index("expires_at_1")
    await sessions.create_index([("expires_at", 1)], expireAfterSeconds=3600)
    with pytest.raises(OperationFailure):
        await mongo_database.prepare()


async def test_prepare_waits_for_a_slow_index_build_and_logs_it(caplog: pytest.LogCaptureFixture) -> None:
    """The driver stops waiting for the answer after seconds; the build continues."""
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
    ],
    ids=["not durable", "another error"],
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
