"""The connection to MongoDB, its indexes, and what its failures mean to an operation."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorCursor, AsyncIOMotorDatabase
from pymongo import ASCENDING, DESCENDING, IndexModel, ReadPreference, WriteConcern
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    ExecutionTimeout,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)
from pymongo.monitoring import CommandListener
from pymongo.read_concern import ReadConcern

from shared.contracts.errors import Unavailable
from worker.domain.records import IDEMPOTENCY_WINDOW

log = logging.getLogger(__name__)

Document = dict[str, Any]
RecordT = TypeVar("RecordT")
Collection = AsyncIOMotorCollection[Document]

DEFAULT_DATABASE = "jincor_auth"
#: What was answered for must survive the loss of a node and of its power.
DURABLE = WriteConcern(w="majority", j=True, wtimeout=3_000)
#: Shorter than the caller's deadline, so that it hears of an absent database and not of a late answer.
SERVER_SELECTION_TIMEOUT_MS = 2_000
SOCKET_TIMEOUT_MS = 3_000
PING_TIMEOUT_SECONDS = 1.0
#: Between attempts to reach a database that is away when the worker starts.
RETRY_SECONDS = 1.0
#: Deadlines are seconds away, and those who set them are not those who look at them.
MAX_CLOCK_DIFFERENCE_SECONDS = 1.0
#: MongoDB's error codes.
AUTHENTICATION_FAILED = 18
UNAUTHORIZED = 13
DUPLICATE_KEY = 11_000
#: Expired sessions stay for a day, so that the last of their events are not lost with them.
SESSION_KEPT_SECONDS = 24 * 3600


def _left_by_tenant(field: str) -> IndexModel:
    """What is left to do of each tenant: a sweep finds the tenants, and a share of each, whatever others have left."""
    return IndexModel([("tenant", ASCENDING), (field, ASCENDING)], partialFilterExpression={field: {"$exists": True}})


#: The sparse ones are looked into by every worker every second or two, so they hold nothing but what is left to do. A
#: partial index would hold the same, but the embedded database does not use it for these queries and scans instead.
INDEXES = {
    "tenants": [
        IndexModel([("email", ASCENDING)], unique=True),
        IndexModel([("ending.at", ASCENDING)], sparse=True),
    ],
    "users": [
        IndexModel([("tenant", ASCENDING), ("login", ASCENDING)], unique=True),
        IndexModel([("ending.at", ASCENDING)], sparse=True),
        _left_by_tenant("ending.at"),
    ],
    "deletions": [
        # By the request, whose mark is in one or two of them. Of a login that is made and deleted again there are many.
        IndexModel([("marks.by", ASCENDING)]),
        IndexModel([("at", ASCENDING)], expireAfterSeconds=int(IDEMPOTENCY_WINDOW.total_seconds())),
    ],
    "attempts": [IndexModel([("kept_until", ASCENDING)], expireAfterSeconds=0)],
    "audit": [
        IndexModel([("expires_at", ASCENDING)], expireAfterSeconds=0),
        # Each page reads what it answers, whatever it is filtered by.
        IndexModel([("tenant", ASCENDING), ("position", DESCENDING)]),
        IndexModel([("tenant", ASCENDING), ("login", ASCENDING), ("position", DESCENDING)]),
        IndexModel([("tenant", ASCENDING), ("type", ASCENDING), ("position", DESCENDING)]),
    ],
    "sessions": [
        IndexModel([("expires_at", ASCENDING)], expireAfterSeconds=SESSION_KEPT_SECONDS),
        IndexModel([("tenant", ASCENDING), ("user", ASCENDING), ("opened_by", ASCENDING)], unique=True),
        IndexModel([("user", ASCENDING), ("issued_at", DESCENDING)]),
        IndexModel([("displaces", ASCENDING)], sparse=True),
        _left_by_tenant("displaces"),
        IndexModel([("outbox", ASCENDING)], sparse=True),
        _left_by_tenant("outbox"),
        IndexModel(
            [("tenant", ASCENDING), ("revocation.announced_at", ASCENDING), ("_id", ASCENDING)],
            partialFilterExpression={"revocation.announced_at": {"$exists": True}},
        ),
    ],
}


class MongoDatabase:
    """The service's database."""

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._database = database

    def collection(self, name: str) -> Collection:
        """A collection whose writes are durable when they are acknowledged, and whose reads see all of those.

        Whatever the URL says: "no worker accepts that token" is not to be had from a secondary.
        """
        return self._database.get_collection(
            name, write_concern=DURABLE, read_preference=ReadPreference.PRIMARY, read_concern=ReadConcern("local")
        )

    async def prepare(self) -> None:
        """Creates what indexes are missing; waits for a database that is away. Safe to repeat, by many at once."""
        while True:
            try:
                for name, indexes in INDEXES.items():
                    await self._database[name].create_indexes(indexes)
            except NetworkTimeout:
                # A build takes as long as it takes, and goes on without us: asked again, the database waits for it.
                log.warning("indexes are being built, or the database is silent; trying again")
                await asyncio.sleep(RETRY_SECONDS)
            except ConnectionFailure:
                log.warning("database is away, trying again")
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def problems(self) -> list[str]:
        """What is in the way of a worker that wants to use it, a line each. None holds a password.

        Indexes that are missing are not: a worker that starts creates them.
        """
        try:
            asked_at = datetime.now(UTC)
            hello = await self._database.command("hello")
            found = clock_problems(hello.get("localTime"), asked_at, datetime.now(UTC))
            for name, indexes in INDEXES.items():
                existing = await self._database[name].index_information()
                conflicts = filter(None, (_conflict(index, existing) for index in indexes))
                found += [f"index {index} of {name} is there, but not as it has to be; drop it" for index in conflicts]
        except ConnectionFailure as error:
            return [f"cannot be reached: {str(error).partition(',')[0]}"]
        except OperationFailure as error:
            if error.code in {AUTHENTICATION_FAILED, UNAUTHORIZED}:
                return ["refuses these credentials, or what they are for"]
            return [f"answers with error {error.code}"]
        return found

    async def ping(self) -> bool:
        """Whether it answers within a second."""
        try:
            async with asyncio.timeout(PING_TIMEOUT_SECONDS):
                await self._database.command("ping")
        except (PyMongoError, TimeoutError):
            return False
        return True


def clock_problems(told: object, asked_at: datetime, answered_at: datetime) -> list[str]:
    """Whether the database's clock, read at some moment between these two of ours, is another than ours."""
    if not isinstance(told, datetime):
        return []
    told = told.replace(tzinfo=UTC)
    ahead = max((asked_at - told).total_seconds(), 0.0) - max((told - answered_at).total_seconds(), 0.0)
    if abs(ahead) <= MAX_CLOCK_DIFFERENCE_SECONDS:
        return []
    return [f"this machine's clock is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} the database's"]


def _conflict(wanted: IndexModel, existing: Mapping[str, Any]) -> str | None:
    """The name of an index that exists otherwise than it is wanted, and so cannot be created."""
    document = wanted.document
    found = existing.get(document["name"])
    if found is None:
        return None
    same = (
        list(found["key"]) == list(document["key"].items())
        and bool(found.get("unique")) == bool(document.get("unique"))
        and found.get("expireAfterSeconds") == document.get("expireAfterSeconds")
    )
    return None if same else str(document["name"])


@contextlib.asynccontextmanager
async def connect(url: str, listeners: Sequence[CommandListener] = ()) -> AsyncIterator[MongoDatabase]:
    """The database that the URL names. Connects when first used; closes at the end. `listeners` hear of commands."""
    client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
        url,
        tz_aware=True,
        appname="jincor-auth",
        event_listeners=list(listeners),
        serverSelectionTimeoutMS=SERVER_SELECTION_TIMEOUT_MS,
        connectTimeoutMS=SERVER_SELECTION_TIMEOUT_MS,
        socketTimeoutMS=SOCKET_TIMEOUT_MS,
    )
    try:
        yield MongoDatabase(client.get_default_database(DEFAULT_DATABASE))
    finally:
        client.close()


def readable(documents: Iterable[Document], read: Callable[[Document], RecordT]) -> list[RecordT]:
    """The records of those documents that can be read: a single one that cannot, such as one that a newer version
    wrote, must not be in the way of the others."""
    records = []
    for document in documents:
        try:
            records.append(read(document))
        except (KeyError, TypeError, ValueError) as error:
            log.error(  # noqa: TRY400 - the traceback says nothing more
                "document cannot be read and is passed over",
                extra={"id": document["_id"], "error": type(error).__name__},
            )
    return records


async def first_readable(
    found: AsyncIOMotorCursor[Document], read: Callable[[Document], RecordT], limit: int
) -> list[RecordT]:
    """As many as the limit of those that can be read, if there are: what cannot must not look like the end."""
    records: list[RecordT] = []
    found.batch_size(limit)
    try:
        while len(records) < limit and (documents := await found.to_list(limit - len(records))):
            records += readable(documents, read)
    finally:
        await found.close()
    return records


def refused_as_duplicates(error: BulkWriteError) -> list[int]:
    """Where in a bulk of inserts stand those that a unique index refused, if that is all that went wrong.

    Raises `WTimeoutError` if some are not durable. Neither that nor what else it raises repeats the error's text and
    details: whole documents are in them.
    """
    if error.details.get("writeConcernErrors"):
        raise WTimeoutError("a bulk of inserts is not durable") from None
    refused = error.details["writeErrors"]
    if others := {each["code"] for each in refused} - {DUPLICATE_KEY}:
        raise RuntimeError(f"a bulk of inserts met errors {sorted(others)}") from None
    return [each["index"] for each in refused]


async def tenants_with(collection: Collection, field: str, older_than: datetime) -> Sequence[str]:
    """The tenants that have left something to do in the collection since before then.

    On a good day that is one look into a sparse index. Otherwise the index by tenant and field is skipped through from
    tenant to tenant (a DISTINCT_SCAN, which takes bounds for both): no tenant's backlog is read.
    """
    left: Document = {field: {"$lt": older_than}}
    with unavailable_when_away():
        if await collection.find_one(left, ["_id"]) is None:
            return []
        return list(await collection.distinct("tenant", {"tenant": {"$gt": ""}, **left}))


@contextlib.contextmanager
def unavailable_when_away() -> Iterator[None]:
    """Turns an absent or silent database into `Unavailable`; anything else it says is a fault of ours."""
    try:
        yield
    except (ConnectionFailure, ExecutionTimeout, WTimeoutError) as error:
        log.warning("database is away", extra={"error": type(error).__name__})
        raise Unavailable from None
