"""The connection to MongoDB, what prevents its use, and the mapping of its failures to errors of operations."""

import asyncio
import contextlib
import functools
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar, cast

from pymongo import AsyncMongoClient, ReadPreference, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConnectionFailure,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)
from pymongo.monitoring import CommandListener
from pymongo.read_concern import ReadConcern

from shared.contracts.errors import Unavailable
from worker.adapters import mongo_failures
from worker.adapters.index_definitions import INDEXES, conflict
from worker.adapters.mongo_routers import one_router
from worker.adapters.mongo_time import PrimaryHeartbeats, call_time_limit

log = logging.getLogger(__name__)

Document = dict[str, Any]
RecordT = TypeVar("RecordT")
#: PyMongo's own async client, or Motor, which runs PyMongo's blocking client in threads. Their
#: collections and cursors are used alike, so the adapters have the types of PyMongo.
Driver = Literal["motor", "pymongo"]
Collection = AsyncCollection[Document]
Cursor = AsyncCursor[Document]

DEFAULT_DATABASE = "jincor_auth"
#: An acknowledged write must survive the loss of a node and a power failure. The database stops
#: waiting for the majority well before the driver stops waiting for the database: otherwise the
#: driver closes the connection and repeats the write. Within `call_time_limit` the driver sends
#: `maxTimeMS` instead.
DURABLE = WriteConcern(w="majority", j=True, wtimeout=2_000)
#: Limits of calls outside `call_time_limit`.
SERVER_SELECTION_TIMEOUT_MS = 2_000
SOCKET_TIMEOUT_MS = 3_000
#: A primary that stops answering is noticed after a heartbeat and a connection timeout, and its
#: connections are closed. With the driver's default of 10 seconds it would be used for 12.
HEARTBEAT_MS = 2_000
#: Connections of one worker to each node, besides two that monitor it: as many as the requests that
#: it holds of two lanes. Motor has five threads for each core of the machine, which may be hundreds.
MAX_CONNECTIONS = 32
#: Limit for reading one page, with the driver's retry. A worker sets it with `pymongo.timeout`, so
#: that the database ends the query too. It is half of a caller's usual deadline of 5 seconds.
MAX_PAGE_SECONDS = 2.5
PING_TIMEOUT_SECONDS = 1.0
#: A database without an answer counts as available for this long after the last heartbeat of a
#: primary, so that readiness does not change during a planned election. A heartbeat is up to
#: `HEARTBEAT_MS` old when the primary steps down, so this covers elections of 4 seconds. Without a
#: vote of the old primary an election takes 10 seconds and more.
PLANNED_ELECTION_SECONDS = 6.0
#: Delay between attempts to reach an unavailable database when the worker starts.
RETRY_SECONDS = 1.0
#: Deadlines are only seconds away and are set and checked by different machines, so clocks must
#: agree this closely.
MAX_CLOCK_DIFFERENCE_SECONDS = 1.0
#: MongoDB's error codes.
AUTHENTICATION_FAILED = 18
UNAUTHORIZED = 13
DUPLICATE_KEY = 11_000
#: A filter for users and tenants that are not being deleted.
NOT_DELETED: Document = {"deleted_at": {"$exists": False}}
#: Concurrent decisions about one user or tenant are retried one after another. More rounds than this
#: indicate another fault.
MAX_DECISION_ROUNDS = 20


class MongoDatabase:
    """The service's database."""

    def __init__(
        self, database: AsyncDatabase[Document], primary_seen_seconds: Callable[[], float] = lambda: math.inf
    ) -> None:
        """`primary_seen_seconds` returns the time since the last heartbeat of a primary."""
        self._database = database
        self._primary_seen_seconds = primary_seen_seconds

    def collection(self, name: str) -> Collection:
        """Return a collection whose acknowledged writes are durable, and whose reads see all acknowledged writes.

        Options in the URL do not change this: a secondary could still return a session that is
        already revoked.
        """
        return self._database.get_collection(
            name, write_concern=DURABLE, read_preference=ReadPreference.PRIMARY, read_concern=ReadConcern("local")
        )

    async def is_replicated(self) -> bool:
        """Return whether the database is a replica set or a sharded cluster, and not a lone mongod."""
        hello = await self._database.command("hello")
        return "setName" in hello or hello.get("msg") == "isdbgrid"

    async def indexes_in_progress(self, name: str) -> set[str]:
        """Return the names of the collection's indexes that are being built. `listIndexes` also lists these."""
        # A command, since only one of the drivers awaits `aggregate`. Each shard lists its indexes.
        answer = await self._database.command(
            "aggregate", name, pipeline=[{"$indexStats": {}}], cursor={"batchSize": 10_000}
        )
        return {each["name"] for each in answer["cursor"]["firstBatch"] if each.get("building")}

    async def index_conflicts(self) -> list[str]:
        """Return the indexes that exist with another definition than expected, one line each."""
        return [line for name in INDEXES for line in await self._conflicts(name)]

    async def index_problems(self) -> list[str]:
        """Return the indexes that a worker lacks, one line each. `python -m worker.indexes` creates them."""
        found: list[str] = []
        for name, indexes in INDEXES.items():
            existing = await self._database[name].index_information()
            missing = [index.document["name"] for index in indexes if index.document["name"] not in existing]
            found += [f"index {index} of {name} is missing; run `python -m worker.indexes`" for index in missing]
            found += await self._conflicts(name)
            try:
                building = await self.indexes_in_progress(name)
            except OperationFailure as error:
                if error.code != UNAUTHORIZED:  # the role `readWrite`, which workers once had, does not include it
                    raise
                building = set()
            found += [f"index {index} of {name} is being built; wait until it is done" for index in sorted(building)]
        return found

    async def wait_for_indexes(self) -> None:
        """Return when all indexes are there. Logs what is missing, and waits while the database is unavailable."""
        logged: list[str] = []
        while True:
            try:
                problems = await self.index_problems()
            except ConnectionFailure:
                problems = ["database is away"]
            if not problems:
                return
            if problems != logged:
                log.warning("worker waits for the database and its indexes", extra={"problems": problems})
            logged = problems
            await asyncio.sleep(RETRY_SECONDS)

    async def problems(self) -> list[str]:
        """Return what prevents a worker from using the database, one line per problem, without passwords."""
        try:
            asked_at = datetime.now(UTC)
            hello = await self._database.command("hello")
            found = clock_problems(hello.get("localTime"), asked_at, datetime.now(UTC))
            found += await self.index_problems()
        except (ConnectionFailure, OperationFailure) as error:
            return [explained(error)]
        return found

    async def _conflicts(self, name: str) -> list[str]:
        existing = await self._database[name].index_information()
        conflicts = filter(None, (conflict(index, existing) for index in INDEXES[name]))
        return [f"index {index} of {name} has another definition than expected; drop it" for index in conflicts]

    async def ping(self) -> bool:
        """Return whether the database replies within a second, or had a primary `PLANNED_ELECTION_SECONDS` ago."""
        try:
            with call_time_limit(PING_TIMEOUT_SECONDS):
                await self._database.command("ping")
        except (PyMongoError, TimeoutError):
            return self._primary_seen_seconds() < PLANNED_ELECTION_SECONDS
        return True


def explained(error: ConnectionFailure | OperationFailure) -> str:
    """Return one line that tells an operator why the database cannot be used. It contains no password."""
    if isinstance(error, ConnectionFailure):
        return f"cannot be reached: {str(error).partition(',')[0]}"
    if error.code in {AUTHENTICATION_FAILED, UNAUTHORIZED}:
        return "refuses these credentials, or their permissions are too narrow"
    return f"replies with error {error.code}"


def clock_problems(database_time: object, asked_at: datetime, answered_at: datetime) -> list[str]:
    """Return a problem if the database's clock, read between these two local times, differs too much from ours."""
    if not isinstance(database_time, datetime):
        return []
    utc = database_time.replace(tzinfo=UTC)
    ahead = max((asked_at - utc).total_seconds(), 0.0) - max((utc - answered_at).total_seconds(), 0.0)
    if abs(ahead) <= MAX_CLOCK_DIFFERENCE_SECONDS:
        return []
    return [f"this machine's clock is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} the database's"]


@contextlib.asynccontextmanager
async def connect(
    url: str,
    listeners: Sequence[CommandListener] = (),
    socket_timeout_ms: int | None = SOCKET_TIMEOUT_MS,
    *,
    driver: Driver = "motor",
) -> AsyncIterator[MongoDatabase]:
    """Return the database that the URL names, as a context manager that closes the connection at exit.

    It connects when first used. PyMongo reports each command to `listeners`. A `socket_timeout_ms`
    of None lets commands take any time.
    """
    heartbeats = PrimaryHeartbeats()
    client, close = _client(
        driver,
        host=url,
        tz_aware=True,
        appname="jincor-auth",
        event_listeners=[*listeners, heartbeats],
        server_selector=one_router,
        serverSelectionTimeoutMS=SERVER_SELECTION_TIMEOUT_MS,
        waitQueueTimeoutMS=SERVER_SELECTION_TIMEOUT_MS,
        connectTimeoutMS=SERVER_SELECTION_TIMEOUT_MS,
        socketTimeoutMS=socket_timeout_ms,
        heartbeatFrequencyMS=HEARTBEAT_MS,
        maxPoolSize=MAX_CONNECTIONS,
    )
    try:
        yield MongoDatabase(client.get_default_database(DEFAULT_DATABASE), heartbeats.seconds_since)
    finally:
        await close()


def _client(driver: Driver, **options: Any) -> tuple[AsyncMongoClient[Document], Callable[[], Awaitable[None]]]:
    """Return a client, and what closes it."""
    if driver == "pymongo":
        client: AsyncMongoClient[Document] = AsyncMongoClient(**options)
        return client, client.close
    from motor.motor_asyncio import AsyncIOMotorClient  # noqa: PLC0415 - workers with the other driver need no Motor

    motor: AsyncIOMotorClient[Document] = AsyncIOMotorClient(**options)
    # In a thread, since it tells the database, which may not answer.
    return cast("AsyncMongoClient[Document]", motor), functools.partial(asyncio.to_thread, motor.close)


def refused_as_duplicates(error: BulkWriteError) -> list[int]:
    """Return the positions in a bulk insert of the documents that a unique index refused.

    Raises `WTimeoutError` if some inserts are not durable, `AutoReconnect` after another temporary
    failure, and `RuntimeError` after any other. None repeats the text or details of the original
    error, which contain whole documents.
    """
    if error.details.get("writeConcernErrors"):
        raise WTimeoutError("a bulk of inserts is not durable") from None
    refused = error.details["writeErrors"]
    others = {each["code"] for each in refused} - {DUPLICATE_KEY}
    if others & mongo_failures.TEMPORARY_CODES:
        raise AutoReconnect("a bulk of inserts met an election") from None
    if others:
        raise RuntimeError(f"a bulk of inserts met errors {sorted(others)}") from None
    return [each["index"] for each in refused]


@contextlib.contextmanager
def unavailable_when_away() -> Iterator[None]:
    """Raise `Unavailable` if the failure is temporary (see `mongo_failures`). Other errors propagate as bugs.

    The time is that of `call_time_limit`, for all calls inside together. The log and the error name
    what happened: a database that needs too long is not away.
    """
    try:
        with call_time_limit():
            yield
    except TimeoutError as error:
        log.warning(mongo_failures.LATE_MESSAGE, extra={"error": type(error).__name__})
        raise Unavailable(mongo_failures.NO_ANSWER_IN_TIME) from None
    except PyMongoError as error:
        if not mongo_failures.is_temporary(error):
            raise
        message = mongo_failures.log_message(error)
        log.warning(message, extra={"error": type(error).__name__, "code": getattr(error, "code", None)})
        raise mongo_failures.unavailable(error) from None
