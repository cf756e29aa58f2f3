"""Durable revocation queues on a real broker."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import aio_pika
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractChannel, AbstractExchange
from yarl import URL

from shared.amqp.topology import EVENTS_EXCHANGE, declare_exchanges
from shared.client import revocations
from shared.client.durable_subscription import DurableSubscription
from shared.client.revocations import handle_durable, read_durable
from shared.contracts.event_list import EventListReply
from shared.contracts.events import SessionRevokedEvent
from tests.backends import Backend
from tests.integration.proxy import Proxy
from tests.records import a_revocation, some_claims

QUEUE = "sub.test.shop.mailer"
DEAD = f"{QUEUE}.dead"
PATIENCE_SECONDS = 30


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
    message = aio_pika.Message(event.to_json(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await events.publish(message, event.data.routing_key, mandatory=False)


def subscription(url: str) -> DurableSubscription:
    async def queue() -> tuple[str, str]:
        return QUEUE, "shop"

    return DurableSubscription([url], "test subscription", queue=queue)


async def nothing_missed(since: int, cursor: str) -> EventListReply:
    del since, cursor
    return EventListReply(events=(), next_cursor="0", as_of=0)


async def take(reader: AsyncIterator[SessionRevokedEvent], count: int) -> list[str]:
    return [(await asyncio.wait_for(anext(reader), PATIENCE_SECONDS)).data.session_id for _ in range(count)]


async def depth(backend: Backend, url: str, queue: str) -> int:
    """Return how many messages a queue holds, delivered or not."""
    listed = json.loads(
        await backend.ctl(["list_queues", "-p", URL(url).path[1:], "name", "messages", "--formatter", "json"])
    )
    return int(next(each["messages"] for each in listed if each["name"] == queue))


async def until_depth(backend: Backend, url: str, queue: str, expected: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await depth(backend, url, queue) != expected:  # noqa: ASYNC110 - the broker has no event for it
            await asyncio.sleep(0.1)


async def test_queue_keeps_events_while_its_reader_is_away(amqp_url: str, events: AbstractExchange) -> None:
    """Events of other tenants are not kept."""
    async with subscription(amqp_url) as first:
        await asyncio.wait_for(first.subscribed(), PATIENCE_SECONDS)
    for session, tenant in (("a", "shop"), ("b", "other"), ("c", "shop")):
        await publish(events, session, tenant)
    async with contextlib.aclosing(read_durable(subscription(amqp_url), nothing_missed, None)) as reader:
        assert await take(reader, 2) == ["a", "c"]


async def test_event_is_acknowledged_when_the_next_is_requested(amqp_url: str, events: AbstractExchange) -> None:
    """An event that the reader did not finish is redelivered."""
    async with subscription(amqp_url) as first:
        await asyncio.wait_for(first.subscribed(), PATIENCE_SECONDS)
    for session in ("a", "b"):
        await publish(events, session)
    async with contextlib.aclosing(read_durable(subscription(amqp_url), nothing_missed, None)) as reader:
        assert await take(reader, 2) == ["a", "b"]
    async with contextlib.aclosing(read_durable(subscription(amqp_url), nothing_missed, None)) as reader:
        assert await take(reader, 1) == ["b"]


async def test_lost_connections_lose_no_event(amqp_url: str, events: AbstractExchange) -> None:
    async with (
        Proxy(amqp_url) as proxy,
        contextlib.aclosing(read_durable(subscription(proxy.url), nothing_missed, None)) as reader,
    ):
        reading = asyncio.ensure_future(take(reader, 1))
        async with subscription(amqp_url) as other:  # creates the queue and consumes nothing
            await asyncio.wait_for(other.subscribed(), PATIENCE_SECONDS)
        await publish(events, "0")
        seen = set(await reading)
        for number in range(1, 10):
            await publish(events, str(number))
            if number % 3 == 0:
                await proxy.cut()
        while len(seen) < 10:
            seen |= set(await take(reader, 1))
        assert seen == {str(number) for number in range(10)}


async def test_event_is_dead_lettered_after_its_last_failed_attempt(
    backend: Backend,
    amqp_url: str,
    events: AbstractExchange,
    channel: AbstractChannel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Other events are handled; the dead letter names its queue."""
    monkeypatch.setattr(revocations, "FIRST_PAUSE_SECONDS", 0.01)
    calls: list[str] = []
    handled = asyncio.Event()

    async def handler(event: SessionRevokedEvent) -> None:
        session = event.data.session_id
        calls.append(session)
        if session == "bad" or (session == "later" and calls.count(session) < 2):
            raise RuntimeError("no")
        if session == "last":
            handled.set()

    handling = asyncio.create_task(handle_durable(subscription(amqp_url), handler, 3))
    async with subscription(amqp_url) as other:
        await asyncio.wait_for(other.subscribed(), PATIENCE_SECONDS)
    for session in ("good", "bad", "later", "last"):
        await publish(events, session)
    await asyncio.wait_for(handled.wait(), PATIENCE_SECONDS)
    assert calls == ["good", "bad", "bad", "bad", "later", "later", "last"]
    await until_depth(backend, amqp_url, QUEUE, 0)
    await until_depth(backend, amqp_url, DEAD, 1)
    handling.cancel()
    await asyncio.gather(handling, return_exceptions=True)
    dead = await (await channel.get_queue(DEAD, ensure=False)).get(timeout=PATIENCE_SECONDS)
    assert dead is not None
    await dead.ack()
    assert SessionRevokedEvent.model_validate_json(dead.body).data.session_id == "bad"
    assert dead.headers["x-first-death-queue"] == QUEUE


async def test_message_that_is_no_event_is_dead_lettered(
    backend: Backend, amqp_url: str, events: AbstractExchange
) -> None:
    async with contextlib.aclosing(read_durable(subscription(amqp_url), nothing_missed, None)) as reader:
        reading = asyncio.ensure_future(take(reader, 1))
        async with subscription(amqp_url) as other:
            await asyncio.wait_for(other.subscribed(), PATIENCE_SECONDS)
        await events.publish(aio_pika.Message(b"?"), "session.revoked.shop")
        await publish(events, "good")
        assert await reading == ["good"]
        await until_depth(backend, amqp_url, DEAD, 1)


async def test_message_that_no_worker_published_is_dropped(
    backend: Backend, amqp_url: str, channel: AbstractChannel, events: AbstractExchange
) -> None:
    """It is neither read nor dead-lettered."""
    forged = a_revocation(some_claims(jti="forged", tenant="shop"))
    relay = await channel.declare_exchange("relay", "topic", auto_delete=True)
    await events.bind(relay, "#")
    async with contextlib.aclosing(read_durable(subscription(amqp_url), nothing_missed, None)) as reader:
        reading = asyncio.ensure_future(take(reader, 1))
        async with subscription(amqp_url) as other:
            await asyncio.wait_for(other.subscribed(), PATIENCE_SECONDS)
        for body in (forged.to_json(), b"?"):
            await channel.default_exchange.publish(aio_pika.Message(body), QUEUE)
            await relay.publish(aio_pika.Message(body), "session.revoked.shop")
        await publish(events, "good")
        assert await reading == ["good"]
    await until_depth(backend, amqp_url, DEAD, 0)


async def test_readers_of_one_queue_share_its_events(amqp_url: str, events: AbstractExchange) -> None:
    async with subscription(amqp_url) as one, subscription(amqp_url) as other:
        for each in (one, other):
            await asyncio.wait_for(each.subscribed(), PATIENCE_SECONDS)
        for session in ("a", "b"):
            await publish(events, session)
        taken = [await asyncio.wait_for(each.next(), PATIENCE_SECONDS) for each in (one, other)]
        assert {delivery.event.data.session_id for delivery in taken} == {"a", "b"}
