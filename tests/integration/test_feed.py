"""The revocation feed on a real broker."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable

import aio_pika
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractChannel, AbstractExchange
from aiormq.exceptions import ChannelLockedResource
from yarl import URL

from shared.amqp import feed as feed_module
from shared.amqp.clock import elapsed_seconds
from shared.amqp.feed import RevocationFeed
from shared.amqp.topology import EVENTS_EXCHANGE, declare_exchanges
from shared.contracts.events import SessionRevokedEvent
from tests.backends import Backend
from tests.integration.proxy import Proxy
from tests.records import a_revocation, some_claims

#: Ends a test whose feed does not become alive.
PATIENCE_SECONDS = 30


class Received:
    """The events and interruptions that a feed reported."""

    def __init__(self) -> None:
        self.events = asyncio.Queue[SessionRevokedEvent]()
        self.interruptions = 0

    async def next(self) -> str:
        event = await asyncio.wait_for(self.events.get(), PATIENCE_SECONDS)
        return event.data.session_id

    def revoked(self, event: SessionRevokedEvent) -> None:
        self.events.put_nowait(event)

    def interrupted(self) -> None:
        self.interruptions += 1


class StoppableClock:
    """The clock of a feed, which a test can stop at a time and let run again."""

    def __init__(self) -> None:
        self._stopped_at: float | None = None

    def __call__(self) -> float:
        return time.monotonic() if self._stopped_at is None else self._stopped_at

    def stop(self, at: float) -> None:
        self._stopped_at = at

    def run(self) -> None:
        self._stopped_at = None


@pytest_asyncio.fixture
async def channel(amqp_url: str) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        await declare_exchanges(channel)
        yield channel


@pytest_asyncio.fixture
async def events(channel: AbstractChannel) -> AbstractExchange:
    return await channel.get_exchange(EVENTS_EXCHANGE, ensure=False)


async def publish(events: AbstractExchange, session: str, tenant: str = "shop") -> None:
    event = a_revocation(some_claims(jti=session, tenant=tenant))
    await events.publish(aio_pika.Message(event.to_json()), event.data.routing_key, mandatory=False)


@contextlib.asynccontextmanager
async def feeding(
    url: str,
    received: Received,
    tenant: str | None = "shop",
    subscriber: str = "test",
    clock: Callable[[], float] = elapsed_seconds,
) -> AsyncIterator[RevocationFeed]:
    async def tenant_id() -> str:
        return tenant or ""

    async with RevocationFeed(
        [url],
        "test feed",
        on_revoked=received.revoked,
        on_interrupted=received.interrupted,
        subscriber=subscriber,
        tenant=tenant_id if tenant else None,
        clock=clock,
    ) as feed:
        assert await feed.wait_alive(PATIENCE_SECONDS)
        yield feed


async def queues(backend: Backend, url: str, prefix: str) -> list[str]:
    """Return the names of the queues on this virtual host with this prefix."""
    listed = await backend.ctl(["list_queues", "-p", URL(url).path[1:], "name", "--formatter", "json"])
    return [queue["name"] for queue in json.loads(listed) if queue["name"].startswith(prefix)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - the feed has no event for it
            await asyncio.sleep(0.02)


async def test_feed_of_a_tenant_delivers_only_its_events_in_order(amqp_url: str, events: AbstractExchange) -> None:
    """A feed without a tenant delivers the events of all."""
    own, all_tenants = Received(), Received()
    async with feeding(amqp_url, own), feeding(amqp_url, all_tenants, tenant=None):
        for session, tenant in (("a", "shop"), ("b", "other"), ("c", "shop")):
            await publish(events, session, tenant)
        assert [await own.next() for _ in "ac"] == ["a", "c"]
        assert [await all_tenants.next() for _ in "abc"] == ["a", "b", "c"]
        assert own.interruptions == all_tenants.interruptions == 0


async def test_feed_after_a_lost_connection_reports_an_interruption_and_recovers(
    amqp_url: str, events: AbstractExchange
) -> None:
    received = Received()
    async with Proxy(amqp_url) as proxy, feeding(proxy.url, received) as feed:
        await proxy.cut()
        await until(lambda: received.interruptions > 0)
        assert not feed.alive
        assert await feed.wait_alive(PATIENCE_SECONDS)
        await publish(events, "later")
        assert await received.next() == "later"


async def test_feed_on_a_silent_link_stops_being_alive_within_probe_and_grace(
    amqp_url: str, channel: AbstractChannel
) -> None:
    del channel
    received, clock = Received(), StoppableClock()
    async with Proxy(amqp_url) as proxy, feeding(proxy.url, received, clock=clock) as feed:
        proxy.hold()
        held_at = clock()
        assert feed.proven_at <= held_at
        clock.stop(held_at + feed_module.PROBE_SECONDS + feed_module.GRACE_SECONDS)
        assert not feed.alive
        clock.run()
        await until(lambda: not feed.alive)
        proxy.let_through()
        assert await feed.wait_alive(PATIENCE_SECONDS)


async def test_feed_whose_binding_was_lost_reports_an_interruption_and_recovers(
    amqp_url: str, channel: AbstractChannel
) -> None:
    """Deleting the exchange removes its bindings; the new exchange does not have them."""
    received = Received()
    async with feeding(amqp_url, received) as feed:
        await channel.exchange_delete(EVENTS_EXCHANGE)
        _, events = await declare_exchanges(channel)
        await publish(events, "missed")
        await until(lambda: received.interruptions > 0)
        assert await feed.wait_alive(PATIENCE_SECONDS)
        await publish(events, "later")
        assert await received.next() == "later"


async def test_queue_of_a_feed_cannot_be_unbound_by_another_connection(
    backend: Backend, amqp_url: str, channel: AbstractChannel
) -> None:
    """This is why a probe on one binding proves the other binding."""
    async with feeding(amqp_url, Received()):
        (name,) = await queues(backend, amqp_url, "sub.test.")
        queue = await channel.get_queue(name, ensure=False)
        with pytest.raises(ChannelLockedResource):
            await queue.unbind(EVENTS_EXCHANGE, routing_key="session.revoked.shop")


async def test_feed_whose_queue_was_deleted_reports_an_interruption_and_recovers(
    backend: Backend, amqp_url: str, events: AbstractExchange
) -> None:
    received = Received()
    async with feeding(amqp_url, received) as feed:
        (name,) = await queues(backend, amqp_url, "sub.test.")
        await backend.ctl(["delete_queue", "-p", URL(amqp_url).path[1:], name])
        await until(lambda: received.interruptions > 0)
        assert await feed.wait_alive(PATIENCE_SECONDS)
        await publish(events, "later")
        assert await received.next() == "later"


async def test_message_that_is_no_event_is_an_interruption(amqp_url: str, events: AbstractExchange) -> None:
    """A newer version may revoke a session with an event that this version cannot read."""
    received = Received()
    async with feeding(amqp_url, received):
        await events.publish(aio_pika.Message(b"?"), "session.revoked.shop")
        await publish(events, "next")
        assert await received.next() == "next"
        assert received.interruptions == 1


async def test_message_that_no_worker_published_is_ignored_and_logged_once(
    backend: Backend,
    amqp_url: str,
    channel: AbstractChannel,
    events: AbstractExchange,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The feed checks the exchange and the routing key of the delivery."""
    own, all_tenants = Received(), Received()
    genuine = a_revocation(some_claims(jti="forged", tenant="shop"))
    key = genuine.data.routing_key
    relay = await channel.declare_exchange("relay", "topic", auto_delete=True)
    await events.bind(relay, "#")
    async with feeding(amqp_url, own), feeding(amqp_url, all_tenants, tenant=None):
        for body in (genuine.to_json(), b"?"):
            for name in await queues(backend, amqp_url, "sub.test."):
                await channel.default_exchange.publish(aio_pika.Message(body), name)
                await events.publish(aio_pika.Message(body), name)
            await relay.publish(aio_pika.Message(body), key)
            await relay.publish(aio_pika.Message(body, headers={"CC": [key]}), "session.revoked.other.more")
            await events.publish(aio_pika.Message(body, headers={"BCC": [key]}), "unbound")
        # Published to the key of one tenant with the content of another.
        await events.publish(aio_pika.Message(genuine.to_json()), "session.revoked.other")
        await publish(events, "next")
        for received in (own, all_tenants):
            assert await received.next() == "next"
            assert received.interruptions == 0
    lines = [record for record in caplog.records if "no worker published them" in record.message]
    assert len(lines) == 2


async def test_feed_without_a_broker_is_not_alive_and_does_not_block() -> None:
    received = Received()
    async with RevocationFeed(
        ["amqp://guest:guest@127.0.0.1:9/"],
        "test feed",
        on_revoked=received.revoked,
        on_interrupted=received.interrupted,
        subscriber="test",
    ) as feed:
        assert not await feed.wait_alive(0.1)
        assert not feed.alive


async def test_event_whose_handler_failed_is_an_interruption(amqp_url: str, events: AbstractExchange) -> None:
    class Failing(Received):
        def revoked(self, event: SessionRevokedEvent) -> None:
            if event.data.session_id == "bad":
                raise RuntimeError("no")
            super().revoked(event)

    received = Failing()
    async with feeding(amqp_url, received):
        for session in ("bad", "next"):
            await publish(events, session)
        assert await received.next() == "next"
        assert received.interruptions == 1


async def test_feed_whose_interruption_handler_fails_recovers_without_a_leftover_queue(
    backend: Backend, amqp_url: str, channel: AbstractChannel
) -> None:
    del channel

    class Failing(Received):
        def interrupted(self) -> None:
            super().interrupted()
            raise RuntimeError("no")

    received = Failing()
    async with asyncio.timeout(2 * PATIENCE_SECONDS), feeding(amqp_url, received) as feed:
        (name,) = await queues(backend, amqp_url, "sub.test.")
        await backend.ctl(["delete_queue", "-p", URL(amqp_url).path[1:], name])
        await until(lambda: received.interruptions > 0)
        assert await feed.wait_alive(PATIENCE_SECONDS)
        assert len(await queues(backend, amqp_url, "sub.test.")) == 1
