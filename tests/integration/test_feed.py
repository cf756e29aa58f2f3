"""The revocation feed on a real broker: what it delivers, and how soon it stops claiming to be alive."""

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

#: What a feed may take to come alive, or back to life. Generous: it bounds a failure and nothing else.
PATIENCE_SECONDS = 30


class Told:
    """What a feed told its user."""

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
    told: Told,
    tenant: str | None = "shop",
    subscriber: str = "test",
    clock: Callable[[], float] = elapsed_seconds,
) -> AsyncIterator[RevocationFeed]:
    async def tenant_id() -> str:
        return tenant or ""

    async with RevocationFeed(
        [url],
        "test feed",
        on_revoked=told.revoked,
        on_interrupted=told.interrupted,
        subscriber=subscriber,
        tenant=tenant_id if tenant else None,
        clock=clock,
    ) as feed:
        assert await feed.wait_alive(PATIENCE_SECONDS)
        yield feed


async def queues(backend: Backend, url: str, prefix: str) -> list[str]:
    """The names of the queues on this virtual host that begin with a prefix."""
    listed = await backend.ctl(["list_queues", "-p", URL(url).path[1:], "name", "--formatter", "json"])
    return [queue["name"] for queue in json.loads(listed) if queue["name"].startswith(prefix)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - the feed has no event for it
            await asyncio.sleep(0.02)


async def test_a_feed_delivers_its_tenants_events_and_no_others(amqp_url: str, events: AbstractExchange) -> None:
    """In order; a feed of everyone's takes all of them."""
    mine, everyones = Told(), Told()
    async with feeding(amqp_url, mine), feeding(amqp_url, everyones, tenant=None):
        for session, tenant in (("a", "shop"), ("b", "other"), ("c", "shop")):
            await publish(events, session, tenant)
        assert [await mine.next() for _ in "ac"] == ["a", "c"]
        assert [await everyones.next() for _ in "abc"] == ["a", "b", "c"]
        assert mine.interruptions == everyones.interruptions == 0


async def test_a_cut_is_told_and_the_feed_comes_back(amqp_url: str, events: AbstractExchange) -> None:
    """What happened meanwhile is lost to it, so its user has to know; what happens later arrives."""
    told = Told()
    async with Proxy(amqp_url) as proxy, feeding(proxy.url, told) as feed:
        await proxy.cut()
        await until(lambda: told.interruptions > 0)
        assert not feed.alive
        assert await feed.wait_alive(PATIENCE_SECONDS)
        await publish(events, "later")
        assert await told.next() == "later"


async def test_a_silent_link_is_not_trusted_for_longer_than_stated(amqp_url: str, channel: AbstractChannel) -> None:
    """Nothing is closed, nothing arrives: within a probe's pause and its grace the feed stops claiming to be alive."""
    del channel
    told, clock = Told(), StoppableClock()
    async with Proxy(amqp_url) as proxy, feeding(proxy.url, told, clock=clock) as feed:
        proxy.hold()
        held_at = clock()
        assert feed.proven_at <= held_at
        clock.stop(held_at + feed_module.PROBE_SECONDS + feed_module.GRACE_SECONDS)
        assert not feed.alive
        clock.run()
        await until(lambda: not feed.alive)
        proxy.let_through()
        assert await feed.wait_alive(PATIENCE_SECONDS)


async def test_a_lost_binding_is_noticed(amqp_url: str, channel: AbstractChannel) -> None:
    """With the exchange all its bindings go; the new one of that name knows nothing of the feed's queue."""
    told = Told()
    async with feeding(amqp_url, told) as feed:
        await channel.exchange_delete(EVENTS_EXCHANGE)
        _, events = await declare_exchanges(channel)
        await publish(events, "missed")
        await until(lambda: told.interruptions > 0)
        assert await feed.wait_alive(PATIENCE_SECONDS)
        await publish(events, "later")
        assert await told.next() == "later"


async def test_nobody_else_can_unbind_the_queue_of_a_feed(
    backend: Backend, amqp_url: str, channel: AbstractChannel
) -> None:
    """This is why a probe on a binding of its own proves that the other binding is there."""
    async with feeding(amqp_url, Told()):
        (name,) = await queues(backend, amqp_url, "sub.test.")
        queue = await channel.get_queue(name, ensure=False)
        with pytest.raises(ChannelLockedResource):
            await queue.unbind(EVENTS_EXCHANGE, routing_key="session.revoked.shop")


async def test_a_queue_that_was_deleted_is_noticed(backend: Backend, amqp_url: str, events: AbstractExchange) -> None:
    told = Told()
    async with feeding(amqp_url, told) as feed:
        (name,) = await queues(backend, amqp_url, "sub.test.")
        await backend.ctl(["delete_queue", "-p", URL(amqp_url).path[1:], name])
        await until(lambda: told.interruptions > 0)
        assert await feed.wait_alive(PATIENCE_SECONDS)
        await publish(events, "later")
        assert await told.next() == "later"


async def test_a_message_that_is_no_event_counts_as_an_interruption(amqp_url: str, events: AbstractExchange) -> None:
    """It may be of a newer kind, and end a session that an older reader cannot know."""
    told = Told()
    async with feeding(amqp_url, told):
        await events.publish(aio_pika.Message(b"?"), "session.revoked.shop")
        await publish(events, "next")
        assert await told.next() == "next"
        assert told.interruptions == 1


async def test_what_no_worker_announced_is_ignored(
    backend: Backend,
    amqp_url: str,
    channel: AbstractChannel,
    events: AbstractExchange,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The feed is not interrupted, and the log has one line; it goes by the exchange and the key of the delivery."""
    mine, everyones = Told(), Told()
    genuine = a_revocation(some_claims(jti="forged", tenant="shop"))
    key = genuine.data.routing_key
    relay = await channel.declare_exchange("relay", "topic", auto_delete=True)
    await events.bind(relay, "#")
    async with feeding(amqp_url, mine), feeding(amqp_url, everyones, tenant=None):
        for body in (genuine.to_json(), b"?"):
            for name in await queues(backend, amqp_url, "sub.test."):
                await channel.default_exchange.publish(aio_pika.Message(body), name)
                await events.publish(aio_pika.Message(body), name)
            await relay.publish(aio_pika.Message(body), key)
            await relay.publish(aio_pika.Message(body, headers={"CC": [key]}), "session.revoked.other.more")
            await events.publish(aio_pika.Message(body, headers={"BCC": [key]}), "unbound")
        # To a key of one tenant, with the content of another.
        await events.publish(aio_pika.Message(genuine.to_json()), "session.revoked.other")
        await publish(events, "next")
        for told in (mine, everyones):
            assert await told.next() == "next"
            assert told.interruptions == 0
    lines = [record for record in caplog.records if "no worker published them" in record.message]
    assert len(lines) == 2


async def test_without_a_broker_a_feed_is_not_alive_and_blocks_nobody() -> None:
    told = Told()
    async with RevocationFeed(
        ["amqp://guest:guest@127.0.0.1:9/"],
        "test feed",
        on_revoked=told.revoked,
        on_interrupted=told.interrupted,
        subscriber="test",
    ) as feed:
        assert not await feed.wait_alive(0.1)
        assert not feed.alive


async def test_an_event_that_was_not_dealt_with_counts_as_an_interruption(
    amqp_url: str, events: AbstractExchange
) -> None:
    """Whatever its user failed at: what has not been taken is as good as missed."""

    class Failing(Told):
        def revoked(self, event: SessionRevokedEvent) -> None:
            if event.data.session_id == "bad":
                raise RuntimeError("no")
            super().revoked(event)

    told = Failing()
    async with feeding(amqp_url, told):
        for session in ("bad", "next"):
            await publish(events, session)
        assert await told.next() == "next"
        assert told.interruptions == 1


async def test_a_user_that_fails_at_an_interruption_leaves_nothing_behind(
    backend: Backend, amqp_url: str, channel: AbstractChannel
) -> None:
    """The lost connection is closed all the same, with its queue; the feed comes back, and ends when it is told to."""
    del channel

    class Failing(Told):
        def interrupted(self) -> None:
            super().interrupted()
            raise RuntimeError("no")

    told = Failing()
    async with asyncio.timeout(2 * PATIENCE_SECONDS), feeding(amqp_url, told) as feed:
        (name,) = await queues(backend, amqp_url, "sub.test.")
        await backend.ctl(["delete_queue", "-p", URL(amqp_url).path[1:], name])
        await until(lambda: told.interruptions > 0)
        assert await feed.wait_alive(PATIENCE_SECONDS)
        assert len(await queues(backend, amqp_url, "sub.test.")) == 1
