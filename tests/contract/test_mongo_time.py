"""Calls to MongoDB end in time: the driver gets the time that the request has left, in its threads too."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent
from yarl import URL

from shared.contracts.errors import AuthError, Unavailable
from tests.fakes import NOW
from tests.integration.proxy import Proxy
from tests.mongo_driver import connect
from tests.records import a_session, a_user
from worker.adapters.mongo_database import MAX_CONNECTIONS, MongoDatabase, unavailable_when_away
from worker.adapters.mongo_indexes import create_indexes
from worker.adapters.mongo_sessions import MongoSessions
from worker.adapters.mongo_time import MAX_CALL_SECONDS, MIN_CALL_SECONDS
from worker.adapters.mongo_users import MongoUsers
from worker.domain.deadline import Deadline, request_deadline

#: Far more than any of these calls may take; ends a test that would otherwise wait for ever.
PATIENCE_SECONDS = 60
#: More calls than Motor has threads for on most machines.
AT_ONCE = 200


class SentCommands(CommandListener):
    """Remembers the time limit of each command that the driver sends, by the name of the command."""

    def __init__(self) -> None:
        self.limits_ms: dict[str, list[int | None]] = {}
        self.write_concerns: list[Mapping[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.limits_ms.setdefault(event.command_name, []).append(event.command.get("maxTimeMS"))
        self.write_concerns += filter(None, [event.command.get("writeConcern")])

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


class SlowLink(Proxy):
    """Delays all commands but `hello`, as a database with a busy disk does."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.delay_seconds = 0.0

    async def pipe_there(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if not (b"hello\0" in data or b"ismaster\0" in data or b"helloOk\0" in data):
                await asyncio.sleep(self.delay_seconds)
            writer.write(data)
            await writer.drain()
        writer.close()


def without_discovery(url: str) -> str:
    """Return the URL with an option: otherwise the driver asks the database for its address and connects there."""
    return str(URL(url).update_query(directConnection="true"))


@pytest.fixture
async def link(mongo_url: str) -> AsyncIterator[SlowLink]:
    async with SlowLink(mongo_url) as link:
        yield link


@pytest.fixture
async def linked(link: SlowLink) -> AsyncIterator[MongoDatabase]:
    """The database through the link, connected."""
    async with connect(without_discovery(link.url)) as database:
        await create_indexes(database)
        yield database
        link.delay_seconds = 0.0
        link.let_through()


def begin_request(timeout_seconds: float) -> Deadline:
    """Make the current task one that handles a request with this timeout."""
    deadline = Deadline.of_request(asyncio.get_running_loop().time() + timeout_seconds, timeout_seconds)
    request_deadline.set(deadline)
    return deadline


async def failure_of(call: Callable[[], Awaitable[object]]) -> type[AuthError] | None:
    try:
        await call()
    except AuthError as error:
        return type(error)
    return None


async def test_command_carries_the_time_that_the_request_has_left(mongo_url: str) -> None:
    """Motor copies the driver's limit into its threads; PyMongo's async client stays in the task."""
    sent = SentCommands()
    async with connect(mongo_url, [sent]) as database:
        users, sessions = MongoUsers(database), MongoSessions(database)
        await users.add(a_user())
        sent.limits_ms.clear()
        begin_request(2.0)
        await users.replace_hash(a_user(), "hash")
        await users.find("shop", "ann")
        await sessions.add(a_session())
        await sessions.live_of_user(a_user(), NOW, 1)
        await users.page("shop", "a search, which reads all users", "", 1)
        await users.remove_all("shop")
        owner = database.collection("users").database
        await owner.client.drop_database(owner.name)
    sent.limits_ms.pop("dropDatabase")
    sent.limits_ms.pop("endSessions", None)
    assert set(sent.limits_ms) == {"update", "find", "insert", "delete"}
    limits = [limit for each in sent.limits_ms.values() for limit in each]
    assert all(limit is not None and MIN_CALL_SECONDS * 1000 * 0.9 < limit < 1500 for limit in limits), sent.limits_ms
    # The driver would otherwise wait for the majority longer than for the answer.
    assert sent.write_concerns
    assert all("wtimeout" not in each for each in sent.write_concerns[-3:])


async def test_calls_to_a_silent_database_end_before_the_deadline_of_their_request(
    link: SlowLink, linked: MongoDatabase
) -> None:
    """Also those that wait for one of Motor's threads behind others."""
    users = MongoUsers(linked)
    link.hold()

    async def request(timeout_seconds: float) -> tuple[type[AuthError] | None, float]:
        deadline = begin_request(timeout_seconds)
        error = await failure_of(lambda: users.find("shop", "ann"))
        return error, deadline.left_seconds(asyncio.get_running_loop().time())

    async with asyncio.timeout(PATIENCE_SECONDS):
        patient = asyncio.gather(*(asyncio.create_task(request(5.0)) for _ in range(AT_ONCE)))
        await asyncio.sleep(0.1)
        ended = [*await asyncio.gather(*(asyncio.create_task(request(2.0)) for _ in range(4))), *await patient]
    assert {error for error, _ in ended} == {Unavailable}
    assert min(left for _, left in ended) > 0


async def test_call_of_a_request_with_a_long_timeout_ends_like_background_work(
    link: SlowLink, linked: MongoDatabase
) -> None:
    """Otherwise a few callers with timeouts of minutes hold all places of a worker while the database is silent."""
    users = MongoUsers(linked)
    link.hold()
    started = time.monotonic()

    async def request() -> type[AuthError] | None:
        begin_request(300.0)
        return await failure_of(lambda: users.find("shop", "ann"))

    async with asyncio.timeout(PATIENCE_SECONDS):
        failures = await asyncio.gather(
            asyncio.create_task(request()), failure_of(lambda: users.tenants_with_unfinished_revocations(NOW))
        )
    assert set(failures) == {Unavailable}
    assert MAX_CALL_SECONDS * 0.9 < time.monotonic() - started < 5 * MAX_CALL_SECONDS


async def test_lookup_with_little_time_does_not_fail_those_that_share_its_query(
    link: SlowLink, linked: MongoDatabase
) -> None:
    """A service may send verifications with tiny timeouts."""
    sessions = MongoSessions(linked)
    session = a_session()
    await sessions.add(session)
    link.delay_seconds = 4 * MIN_CALL_SECONDS

    async def lookup(timeout_seconds: float) -> object:
        begin_request(timeout_seconds)
        return await sessions.find([session.id])

    async with asyncio.timeout(PATIENCE_SECONDS):
        first = asyncio.create_task(lookup(30.0))
        await asyncio.sleep(0)
        short = asyncio.create_task(lookup(0.01))  # begins the next query
        await asyncio.sleep(0)
        joined = [asyncio.create_task(lookup(30.0)) for _ in range(3)]
        found = await asyncio.gather(first, *joined)
        with pytest.raises(Unavailable):
            await short
    assert found == [{session.id: session}] * 4


async def test_slow_database_gets_no_new_connections(link: SlowLink, linked: MongoDatabase) -> None:
    """A call waits for its answer while its request has time, and its connection is used again."""
    users = MongoUsers(linked)
    link.delay_seconds = 0.8 * MAX_CALL_SECONDS

    async def calls() -> set[type[AuthError] | None]:
        return set(await asyncio.gather(*(failure_of(lambda: users.find("shop", "ann")) for _ in range(4))))

    async with asyncio.timeout(PATIENCE_SECONDS):
        link.delay_seconds = 0.0
        assert await calls() == {None}
        accepted = link.accepted
        link.delay_seconds = 0.8 * MAX_CALL_SECONDS
        assert await calls() == {None}
    assert link.accepted - accepted <= 3  # the pool had one connection at least


async def test_call_without_an_answer_in_time_leaves_its_task_uncancelled() -> None:
    """The timer that ends the call must not end what the task does next."""
    begin_request(0.4)
    with pytest.raises(Unavailable), unavailable_when_away():
        await asyncio.sleep(PATIENCE_SECONDS)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_cancelled_call_stays_cancelled() -> None:
    """Only the timer becomes `Unavailable`."""

    async def call() -> None:
        with unavailable_when_away():
            await asyncio.sleep(PATIENCE_SECONDS)

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_pool_of_connections_is_bounded_whatever_the_url_says(mongo_url: str) -> None:
    """Motor has five threads for each core of the machine, and a container does not see that it may use only one."""
    url = str(URL(mongo_url).update_query(maxPoolSize="500", waitQueueTimeoutMS="60000"))
    async with connect(url) as database:
        client: Any = database.collection("users").database.client
        options = client.options.pool_options
    assert options.max_pool_size == MAX_CONNECTIONS
    assert options.wait_queue_timeout < MAX_CALL_SECONDS
