"""Events that a subscriber's queue refuses."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import aio_pika
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractQueue
from yarl import URL

from shared.amqp.topology import EVENTS_EXCHANGE, declare_exchanges
from shared.contracts.events import RevocationReason, revocations_key
from tests.backends import Backend
from tests.fakes import NOW, FakeClock, FakeSessions
from tests.records import a_session
from worker.amqp.events import AmqpEvents
from worker.amqp.tenant_channels import MAX_CHANNELS
from worker.domain.records import Revocation, StoredSession
from worker.domain.retries import FIRST_DELAY, MAX_REFUSALS

TENANT, ANOTHER = "a-tenant", "another-tenant"
#: Every pending event is due before this time.
FAR_FUTURE = NOW + timedelta(days=30)
WAIT_SECONDS = 10
CONNECTED = "connected to the broker"
LOST = "connection to the broker is lost, connecting again"
REFUSED = "a tenant's queues refuse or hold up revocations, they are published again later"
GIVEN_UP = "a tenant's queues refused a revocation too often, it is only listed now"
FAILED = "revocation is not announced, the sweep will do it"


class World:
    """Events on a broker that refuses those of one tenant, with a clock that the test advances."""

    def __init__(self, amqp_url: str, backend: Backend) -> None:
        self.sessions = FakeSessions()
        self.clock = FakeClock()
        self.retried: list[bool] = []
        self.lags: list[float] = []
        self._vhost = URL(amqp_url).path.removeprefix("/")
        self._backend = backend
        self.events = AmqpEvents(
            [amqp_url],
            "test events",
            "test",
            self.sessions,
            self.clock,
            on_published=self.lags.append,
            on_refused=self.retried.append,
        )

    async def revoked(self, tenant: str = TENANT) -> StoredSession:
        session = await self.sessions.add(a_session(tenant=tenant))
        ended = await self.sessions.revoke(session, Revocation(self.clock.now(), RevocationReason.LOGOUT))
        assert ended is not None
        return ended

    async def announce(self, *sessions: StoredSession) -> None:
        """Announce the sessions as they are stored now, and wait until each is published or refused."""
        for session in sessions:
            self.events.announce((await self.sessions.find([session.id]))[session.id])
        await until(lambda: self.events.in_flight == 0)

    async def has_channels(self, number: int) -> bool:
        """Return whether this many channels with confirms are open."""
        listed = await self._backend.ctl(["list_channels", "vhost", "confirm"])
        return listed.splitlines().count(f"{self._vhost}\ttrue") == number


async def until_async(holds: Callable[[int], Awaitable[bool]], number: int) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not await holds(number):  # noqa: ASYNC110 - the broker changes the condition
            await asyncio.sleep(0.01)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not holds():  # noqa: ASYNC110 - the broker changes the condition
            await asyncio.sleep(0.01)


def lost_connections(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the log messages about a lost connection. Each ends with its reason."""
    return [message for message in caplog.messages if message.startswith(LOST)]


@pytest_asyncio.fixture
async def world(amqp_url: str, backend: Backend, caplog: pytest.LogCaptureFixture) -> AsyncIterator[World]:
    caplog.set_level("INFO")
    world = World(amqp_url, backend)
    async with world.events:
        await until(lambda: CONNECTED in caplog.messages)
        yield world


@pytest_asyncio.fixture
async def full(amqp_url: str) -> AsyncIterator[AbstractQueue]:
    """A subscriber's queue that rejects every message."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel(publisher_confirms=False)
        await declare_exchanges(channel)
        queue = await channel.declare_queue(
            exclusive=True, arguments={"x-max-length": 0, "x-overflow": "reject-publish"}
        )
        await queue.bind(EVENTS_EXCHANGE, revocations_key(TENANT))
        yield queue


async def test_refused_event_is_listed_and_retried_until_accepted(
    world: World, full: AbstractQueue, caplog: pytest.LogCaptureFixture
) -> None:
    """No refused event counts in the lag metric, and one line is logged for all of a tenant's events."""
    session, other = await world.revoked(), await world.revoked()
    await world.announce(session, other)
    listed = await world.sessions.announced_after(TENANT, NOW - timedelta(days=1), "", 10)
    assert {each.id for each in listed} == {session.id, other.id}
    assert await world.sessions.unannounced(TENANT, NOW + FIRST_DELAY, 10) == []
    assert len(await world.sessions.unannounced(TENANT, NOW + FIRST_DELAY + timedelta(seconds=1), 10)) == 2
    assert world.retried == [True, True]
    assert caplog.messages.count(REFUSED) == 1

    await full.unbind(EVENTS_EXCHANGE, revocations_key(TENANT))
    world.clock.advance(timedelta(hours=1))
    await world.announce(session)
    assert await world.sessions.unannounced(TENANT, FAR_FUTURE, 10) == [each for each in listed if each.id == other.id]
    assert world.lags == []
    assert not lost_connections(caplog)


async def test_event_after_its_last_refusal_is_listed_and_logged(
    world: World, full: AbstractQueue, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection stays open."""
    assert full.name
    session = await world.revoked()
    for _ in range(MAX_REFUSALS):
        await world.announce(session)
    assert world.retried == [True] * (MAX_REFUSALS - 1) + [False]
    assert caplog.messages.count(GIVEN_UP) == 1
    assert await world.sessions.unannounced(TENANT, FAR_FUTURE, 10) == []
    [listed] = await world.sessions.announced_after(TENANT, NOW - timedelta(days=1), "", 10)
    assert listed == replace(session, revocation=listed.revocation)
    assert not lost_connections(caplog)


async def test_refused_event_is_retried_on_a_new_channel(
    world: World, full: AbstractQueue, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    """RabbitMQ 3.10 may refuse messages for a queue that lost its leader as long as the channel lives.
    Tenants share no channel, and no channel is left open.
    """
    if backend.kind != "local":
        pytest.skip("reads the channels with a tool whose output depends on the version")
    assert full.name
    session = await world.revoked()
    for _ in range(3):
        await world.announce(session)
        await until_async(world.has_channels, 0)
    for _ in range(3):
        others = [await world.revoked(ANOTHER) for _ in range(50)]
        await world.announce(*others[:25], session, *others[25:])
        await until_async(world.has_channels, 1)
    assert await world.sessions.unannounced_of(ANOTHER, 10) == []
    assert FAILED not in caplog.messages
    assert not lost_connections(caplog)


async def test_more_tenants_than_channels_are_all_published(world: World, backend: Backend) -> None:
    """The channels that were idle longest are closed."""
    if backend.kind != "local":
        pytest.skip("reads the channels with a tool whose output depends on the version")
    sessions = [await world.revoked(f"tenant-{number}") for number in range(MAX_CHANNELS + 50)]
    await world.announce(*sessions)
    assert len(world.lags) == len(sessions)
    await until_async(world.has_channels, MAX_CHANNELS)


async def test_channel_closed_by_the_broker_is_a_lost_connection(
    world: World, amqp_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    session = await world.revoked()
    await world.announce(session)
    for attempt in (1, 2):
        caplog.clear()
        async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
            await channel.exchange_delete(EVENTS_EXCHANGE)
        await world.announce(session)
        await until(lambda: CONNECTED in caplog.messages)
        assert len(lost_connections(caplog)) == 1, attempt
    await world.announce(session)
    assert await world.sessions.unannounced(TENANT, FAR_FUTURE, 10) == []
