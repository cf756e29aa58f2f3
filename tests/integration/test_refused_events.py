"""Events that a subscriber's queue refuses: they stay where they are; a channel that is only refused is given up."""

import asyncio
from collections.abc import AsyncIterator, Callable

import aio_pika
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractQueue

from shared.amqp.refusals import STUCK_SECONDS, Refusals
from shared.amqp.topology import EVENTS_EXCHANGE, declare_exchanges
from shared.contracts.events import RevocationReason
from tests.fakes import FakeSessions
from tests.records import a_session
from worker.adapters.amqp_events import AmqpEvents
from worker.adapters.system_clock import SystemClock
from worker.records import Revocation, Session

TENANT = "a-tenant"
ROUTING_KEY = f"session.revoked.{TENANT}"
WAIT_SECONDS = 10
CONNECTED = "connected to the broker"
GIVEN_UP = "connection to the broker is lost, connecting again"
REFUSED = "revocation is not announced, the sweep will do it"


class Clock:
    """Seconds that go by when the test says so."""

    now: float = 0

    def __call__(self) -> float:
        return self.now


@pytest_asyncio.fixture
async def full(amqp_url: str) -> AsyncIterator[AbstractQueue]:
    """A subscriber's queue with room for nothing, which says so to whoever publishes."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await declare_exchanges(channel)
        queue = await channel.declare_queue(
            exclusive=True, arguments={"x-max-length": 0, "x-overflow": "reject-publish"}
        )
        await queue.bind(EVENTS_EXCHANGE, ROUTING_KEY)
        yield queue


async def _revoked(sessions: FakeSessions) -> Session:
    session = await sessions.add(a_session(tenant=TENANT))
    ended = await sessions.revoke(session, Revocation(SystemClock().now(), RevocationReason.LOGOUT))
    assert ended is not None
    return ended


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not holds():  # noqa: ASYNC110 - the broker brings it about
            await asyncio.sleep(0.01)


async def test_a_refused_event_stays_in_the_outbox_until_it_is_taken(
    amqp_url: str, full: AbstractQueue, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it is refused; and the channel that it was refused on for long is not used for ever."""
    caplog.set_level("INFO")
    sessions, clock = FakeSessions(), Clock()
    ended = await _revoked(sessions)
    async with AmqpEvents(
        [amqp_url], "test events", "test", sessions, SystemClock(), refusals=Refusals(clock)
    ) as events:
        await _until(lambda: caplog.messages.count(CONNECTED) == 1)
        for moment in (0, STUCK_SECONDS):  # so long may a queue be full
            clock.now = moment
            events.announce(ended)
            await _until(lambda: events.under_way == 0)
        assert caplog.messages.count(REFUSED) == 2
        assert GIVEN_UP not in caplog.messages
        clock.now += 0.1
        events.announce(ended)
        await _until(lambda: caplog.messages.count(GIVEN_UP) == 1)
        assert await sessions.unannounced_of(TENANT, 10) == [ended]

        await full.unbind(EVENTS_EXCHANGE, ROUTING_KEY)
        await _until(lambda: caplog.messages.count(CONNECTED) == 2)
        events.announce(ended)
        await _until(lambda: events.under_way == 0)
        assert not await sessions.unannounced_of(TENANT, 10)
    assert caplog.messages.count(GIVEN_UP) == 1
