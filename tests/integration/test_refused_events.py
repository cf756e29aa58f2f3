"""Events that a subscriber's queue refuses: they are listed, tried again on newer channels, and given up in the end."""

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
#: Whatever is to be announced at all is due before then.
EVER = NOW + timedelta(days=30)
WAIT_SECONDS = 10
CONNECTED = "connected to the broker"
LOST = "connection to the broker is lost, connecting again"
REFUSED = "a tenant's queues refuse or hold up revocations, they are published again later"
GIVEN_UP = "a tenant's queues refused a revocation too often, it is only listed now"
FAILED = "revocation is not announced, the sweep will do it"


class World:
    """Events on a broker where one tenant's events are refused, with times that the test moves on."""

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
        """Announces the sessions as they are stored now. Returns when each is published or refused."""
        for session in sessions:
            self.events.announce((await self.sessions.find([session.id]))[session.id])
        await until(lambda: self.events.in_flight == 0)

    async def has_channels(self, number: int) -> bool:
        """Whether so many channels are open that events are published on."""
        listed = await self._backend.ctl(["list_channels", "vhost", "confirm"])
        return listed.splitlines().count(f"{self._vhost}\ttrue") == number


async def until_async(holds: Callable[[int], Awaitable[bool]], number: int) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not await holds(number):  # noqa: ASYNC110 - the broker brings it about
            await asyncio.sleep(0.01)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not holds():  # noqa: ASYNC110 - the broker brings it about
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def world(amqp_url: str, backend: Backend, caplog: pytest.LogCaptureFixture) -> AsyncIterator[World]:
    caplog.set_level("INFO")
    world = World(amqp_url, backend)
    async with world.events:
        await until(lambda: CONNECTED in caplog.messages)
        yield world


@pytest_asyncio.fixture
async def full(amqp_url: str) -> AsyncIterator[AbstractQueue]:
    """A subscriber's queue with room for nothing, which says so to whoever publishes."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel(publisher_confirms=False)
        await declare_exchanges(channel)
        queue = await channel.declare_queue(
            exclusive=True, arguments={"x-max-length": 0, "x-overflow": "reject-publish"}
        )
        await queue.bind(EVENTS_EXCHANGE, revocations_key(TENANT))
        yield queue


async def test_a_refused_event_is_listed_and_published_later_until_it_is_taken(
    world: World, full: AbstractQueue, caplog: pytest.LogCaptureFixture
) -> None:
    """It says nothing about how long the service takes; and one line tells of all that one tenant's queue refuses."""
    session, beside = await world.revoked(), await world.revoked()
    await world.announce(session, beside)
    listed = await world.sessions.announced_after(TENANT, NOW - timedelta(days=1), "", 10)
    assert {each.id for each in listed} == {session.id, beside.id}
    assert await world.sessions.unannounced(TENANT, NOW + FIRST_DELAY, 10) == []
    assert len(await world.sessions.unannounced(TENANT, NOW + FIRST_DELAY + timedelta(seconds=1), 10)) == 2
    assert world.retried == [True, True]
    assert caplog.messages.count(REFUSED) == 1

    await full.unbind(EVENTS_EXCHANGE, revocations_key(TENANT))
    world.clock.advance(timedelta(hours=1))
    await world.announce(session)
    assert await world.sessions.unannounced(TENANT, EVER, 10) == [each for each in listed if each.id == beside.id]
    assert world.lags == []
    assert LOST not in caplog.messages


async def test_an_event_is_given_up_after_its_last_refusal(
    world: World, full: AbstractQueue, caplog: pytest.LogCaptureFixture
) -> None:
    """It is listed; a line and the metric tell. The connection stays, however long a tenant's events are refused."""
    assert full.name
    session = await world.revoked()
    for _ in range(MAX_REFUSALS):
        await world.announce(session)
    assert world.retried == [True] * (MAX_REFUSALS - 1) + [False]
    assert caplog.messages.count(GIVEN_UP) == 1
    assert await world.sessions.unannounced(TENANT, EVER, 10) == []
    [listed] = await world.sessions.announced_after(TENANT, NOW - timedelta(days=1), "", 10)
    assert listed == replace(session, revocation=listed.revocation)
    assert LOST not in caplog.messages


async def test_what_was_refused_is_tried_again_on_a_new_channel(
    world: World, full: AbstractQueue, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    """RabbitMQ 3.10 may refuse what is for a queue that lost its leader for as long as the channel lives. Tenants share
    no channel, none of others' events is lost, and channels do not pile up."""
    if backend.kind != "local":
        pytest.skip("looks at the channels with a tool whose output is that of one version")
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
    assert LOST not in caplog.messages


async def test_more_tenants_than_channels_take_turns(world: World, backend: Backend) -> None:
    """The channels that were idle longest are closed; every event is published."""
    if backend.kind != "local":
        pytest.skip("looks at the channels with a tool whose output is that of one version")
    sessions = [await world.revoked(f"tenant-{number}") for number in range(MAX_CHANNELS + 50)]
    await world.announce(*sessions)
    assert len(world.lags) == len(sessions)
    await until_async(world.has_channels, MAX_CHANNELS)


async def test_a_channel_that_the_broker_closes_is_a_lost_connection(
    world: World, amqp_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And what stands on it is built anew."""
    session = await world.revoked()
    await world.announce(session)
    for times in (1, 2):
        caplog.clear()
        async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
            await channel.exchange_delete(EVENTS_EXCHANGE)
        await world.announce(session)
        await until(lambda: CONNECTED in caplog.messages)
        assert caplog.messages.count(LOST) == 1, times
    await world.announce(session)
    assert await world.sessions.unannounced(TENANT, EVER, 10) == []
