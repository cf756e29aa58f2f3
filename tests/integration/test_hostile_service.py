"""A tenant's service that attacks other tenants with its own broker user.

RabbitMQ checks topic permissions against the routing key that a client publishes with. It does not see what the client
relays through an exchange of its own, dead-letters from a queue of its own, or adds in the headers `CC` and `BCC`. The
attacker in these tests tries all three ways on every exchange.
"""

import asyncio
import contextlib
import itertools
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import aio_pika
import httpx
import pytest
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError
from aiormq.exceptions import PublishError
from pamqp.common import FieldArray, FieldTable
from yarl import URL

from shared.amqp.clock import elapsed_seconds
from shared.amqp.feed import RevocationFeed
from shared.amqp.topology import (
    DEADLINE_HEADER,
    DIRECT_REPLY_TO,
    EVENTS_EXCHANGE,
    JSON_TYPE,
    RPC_EXCHANGE,
    service_exchange,
    subscriber_queue,
)
from shared.client.auth_client import AuthClient
from shared.contracts.errors import ServiceCredentialsRejected
from shared.contracts.events import SessionRevokedEvent, revocations_key
from shared.contracts.tenant_register import TENANT_REGISTER
from tests.event_stream import Block, sessions_of
from tests.integration.broker_users import (
    PASSWORD,
    PATIENCE_SECONDS,
    REGISTRATION_KEY,
    SHOP,
    SHOPPING,
    Broker,
    channel_of,
    shop,
)
from tests.records import a_revocation
from tests.service import running_service

#: The worker runs on one loop for all tests.
pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Keys that the attacker may publish under; a message with a permitted key may carry other keys too.
PERMITTED = ("auth.verify", subscriber_queue(SHOPPING, "own"), subscriber_queue("edge", "any"))
#: `probes` is an exchange of older versions that an upgraded broker may still have.
TARGETS = (service_exchange(SHOPPING), service_exchange(SHOP), RPC_EXCHANGE, EVENTS_EXCHANGE, "probes", "screen")


@contextlib.asynccontextmanager
async def attempting(connection: AbstractConnection) -> AsyncIterator[AbstractChannel]:
    """Yield a channel for one attempt, since the broker closes a channel to refuse."""
    channel = await connection.channel(on_return_raises=True)
    with contextlib.suppress(AMQPError):
        yield channel
    with contextlib.suppress(AMQPError):
        await channel.close()


async def relay_into(channel: AbstractChannel, target: str) -> AbstractExchange:
    """Bind an exchange of the attacker's own into another."""
    own = await channel.declare_exchange(subscriber_queue(SHOPPING, uuid.uuid4().hex), "fanout", auto_delete=True)
    await (await channel.get_exchange(target, ensure=False)).bind(own)
    return own


async def fall_back_to(channel: AbstractChannel, target: str) -> AbstractExchange:
    """Declare an exchange of the attacker's own whose unroutable messages go to another."""
    name = subscriber_queue(SHOPPING, uuid.uuid4().hex)
    return await channel.declare_exchange(name, "topic", auto_delete=True, arguments={"alternate-exchange": target})


async def dead_letter_to(channel: AbstractChannel, target: str) -> AbstractExchange:
    """Declare an exchange of the attacker's own with a queue that dead-letters everything to another."""
    name = subscriber_queue(SHOPPING, uuid.uuid4().hex)
    own = await channel.declare_exchange(name, "fanout")
    arguments: FieldTable = {"x-message-ttl": 0, "x-dead-letter-exchange": target, "x-expires": 60_000}
    await (await channel.declare_queue(name, arguments=arguments)).bind(own)
    return own


async def publish_to(channel: AbstractChannel, target: str) -> AbstractExchange:
    return await channel.get_exchange(target, ensure=False)


async def ignore(_: AbstractIncomingMessage) -> None:
    """Accept a reply and drop it."""


METHODS = (publish_to, relay_into, fall_back_to, dead_letter_to)


def spellings(key: str) -> Iterable[tuple[str, dict[str, FieldArray]]]:
    """Yield routing keys and headers that route a message under `key`, alone or beside a permitted key."""
    yield key, {}
    for permitted, header in itertools.product(PERMITTED, ("CC", "BCC")):
        yield key, {header: [permitted]}
        yield permitted, {header: [key]}


async def attack(
    broker: Broker, key: str, body: bytes, *, reply_to: str | None = None, targets: Iterable[str] = TARGETS
) -> None:
    """Send the message under this routing key with every method that the broker might allow."""
    async with await aio_pika.connect(broker.urls[SHOPPING]) as connection:
        for target, method in itertools.product(targets, METHODS):
            for first_key, copies in spellings(key):
                async with attempting(connection) as channel:
                    if reply_to:
                        replies = await channel.get_queue(DIRECT_REPLY_TO, ensure=False)
                        await replies.consume(ignore, no_ack=True)
                    exchange = await method(channel, target)
                    message = aio_pika.Message(
                        body,
                        content_type=JSON_TYPE,
                        reply_to=reply_to,
                        headers={**copies, DEADLINE_HEADER: int((time.time() + 60) * 1000)},
                    )
                    await exchange.publish(message, first_key, mandatory=False)


async def subscriber_queues(broker: Broker, prefix: str) -> dict[str, int]:
    """Return the number of messages in each queue with this prefix."""
    vhost = URL(broker.admin).path[1:]
    listed = json.loads(
        await broker.backend.ctl(["list_queues", "-p", vhost, "name", "messages", "--formatter", "json"])
    )
    return {each["name"]: each["messages"] for each in listed if each["name"].startswith(prefix)}


async def sessions_received(events: AsyncIterator[SessionRevokedEvent], until: str) -> list[str]:
    """Return the sessions that a reader receives, up to the one that was revoked."""
    sessions: list[str] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while until not in sessions:
            sessions.append((await anext(events)).data.session_id)
    return sessions


async def sessions_streamed(response: httpx.Response, until: str) -> list[str]:
    """Return the sessions of an event stream, up to the one that was revoked."""
    sessions: list[str] = []
    lines: list[str] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for line in response.aiter_lines():
            if line:
                lines.append(line)
                continue
            sessions += sessions_of([Block.parse("\n".join(lines))])
            lines = []
            if until in sessions:
                break
    return sessions


@contextlib.asynccontextmanager
async def edge_stream(broker: Broker, directory: Path) -> AsyncIterator[httpx.Response]:
    """The victim's event stream at an edge with the broker user `edge`."""
    async with (
        running_service(
            directory,
            broker.urls["edge"],
            broker.backend.database_url(),
            workers=0,
            env={"AUTH_DECLARE_TOPOLOGY": "false"},
        ) as edge,
        httpx.AsyncClient(base_url=edge.urls[0], timeout=PATIENCE_SECONDS) as http,
    ):
        answer = await http.post("/tenant/login", json={"email": "shop@tenant.test", "password": PASSWORD})
        headers = {"Authorization": f"Bearer {answer.raise_for_status().json()['accessToken']}"}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            async with http.stream("GET", "/events", headers=headers) as response:
                if response.status_code == httpx.codes.OK:
                    yield response
                    return
                assert time.monotonic() < deadline, await response.aread()
            await asyncio.sleep(0.05)


async def until_declared(broker: Broker, durable: str) -> None:
    """Wait until the victim's durable queue exists."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if any(name.endswith(durable) for name in await subscriber_queues(broker, f"sub.{SHOP}.")):
                return
            await asyncio.sleep(0.05)


async def test_forged_revocation_reaches_no_feed_stream_cache_or_queue(broker: Broker, tmp_path: Path) -> None:
    revoked: list[str] = []
    interruptions: list[float] = []
    async with (
        shop(broker) as client,
        client.verifier(max_age_seconds=60) as verifier,
        RevocationFeed(
            [broker.urls["edge"]],
            "test edge events",
            on_revoked=lambda event: revoked.append(event.data.session_id),
            on_interrupted=lambda: interruptions.append(time.monotonic()),
            subscriber="edge",
        ) as feed,
        edge_stream(broker, tmp_path) as stream,
        contextlib.aclosing(client.revocations(since=int(time.time()) + 3600)) as live,
        contextlib.aclosing(client.revocations(durable="forged")) as durable,
    ):
        await client.users.create("vic", PASSWORD, email="vic@users.test")
        token = await client.login("vic", PASSWORD, device_id="phone")
        claims = await verifier.verify(token)
        other_token = await client.login("vic", PASSWORD, device_id="laptop")
        other = (await client.verify(other_token)).jti
        readers = [
            asyncio.create_task(sessions_received(live, other)),
            asyncio.create_task(sessions_received(durable, other)),
            asyncio.create_task(sessions_streamed(stream, other)),
        ]
        ended = asyncio.create_task(verifier.until_ended(token))
        await until_declared(broker, ".forged")
        assert await feed.wait_alive(PATIENCE_SECONDS)
        assert await verifier.wait_trusted(PATIENCE_SECONDS)
        before = len(interruptions)

        forged = a_revocation(claims)
        for key in (forged.data.routing_key, revocations_key(f"{broker.tenant}.more")):
            await attack(broker, key, forged.to_json())
        await client.logout(other_token)

        assert await asyncio.gather(*readers) == [[other]] * len(readers)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while other not in revoked:  # noqa: ASYNC110 - the feed has no event for it
                await asyncio.sleep(0.02)
        assert claims.jti not in revoked
        assert len(interruptions) == before
        assert verifier.counts.distrusts == 0
        assert not ended.done()
        hits = verifier.counts.hits
        await verifier.verify(token)
        assert verifier.counts.hits == hits + 1
        ended.cancel()
        await asyncio.gather(ended, return_exceptions=True)


async def test_junk_interrupts_no_feed_and_fills_no_queue_of_another_service(broker: Broker) -> None:
    interruptions: list[str] = []
    async with (
        shop(broker) as client,
        contextlib.aclosing(client.revocations(durable="junk")) as durable,
        contextlib.AsyncExitStack() as stack,
    ):
        reading = asyncio.create_task(anext(durable))
        await until_declared(broker, ".junk")
        reading.cancel()  # from here on the queue keeps its messages
        await asyncio.gather(reading, return_exceptions=True)
        tenant = broker.tenant

        async def victim() -> str:
            return tenant

        feeds = [
            await stack.enter_async_context(
                RevocationFeed(
                    [broker.urls[user]],
                    f"test {user}",
                    on_revoked=lambda _: None,
                    on_interrupted=lambda user=user: interruptions.append(user),  # type: ignore[misc]
                    subscriber=user,
                    tenant=victim if user == SHOP else None,
                    exchange=service_exchange(SHOP) if user == SHOP else RPC_EXCHANGE,
                )
            )
            for user in ("edge", SHOP)
        ]
        for feed in feeds:
            assert await feed.wait_alive(PATIENCE_SECONDS)
        queues = [name for user in ("edge", SHOP) for name in await subscriber_queues(broker, f"sub.{user}.")]
        interruptions.clear()
        live = [name for name in queues if broker.tenant not in name]
        assert len(live) == len(feeds)
        for key in (revocations_key(broker.tenant), *live):
            await attack(broker, key, b"junk")
        sent = elapsed_seconds()  # a later probe arrives after all of this
        async with asyncio.timeout(PATIENCE_SECONDS):
            while any(feed.proven_at < sent for feed in feeds):  # noqa: ASYNC110 - the feed has no event for it
                await asyncio.sleep(0.05)
        assert interruptions == []
        kept = await subscriber_queues(broker, f"sub.{SHOP}.{broker.tenant}.junk")
        assert len(kept) == 2
        assert set(kept.values()) == {0}


async def test_operation_that_is_not_bound_for_a_service_cannot_be_called(broker: Broker) -> None:
    email = "smuggled@tenant.test"
    request = TENANT_REGISTER.request(email=email, password=PASSWORD, registration_key=REGISTRATION_KEY)
    await attack(
        broker,
        TENANT_REGISTER.name,
        request.to_json(),
        reply_to=DIRECT_REPLY_TO,
        targets=(service_exchange(SHOPPING), RPC_EXCHANGE),
    )
    with pytest.raises(ServiceCredentialsRejected):
        async with AuthClient.connect(broker.admin, email=email, password=PASSWORD):
            pass


async def test_attack_reaches_a_queue_of_the_attackers_own(broker: Broker) -> None:
    """Shows that the attack works where permissions allow it."""
    own = subscriber_queue(SHOPPING, "control")
    async with channel_of(broker, SHOPPING) as channel:
        queue = await channel.declare_queue(own, exclusive=True)
        await queue.bind(EVENTS_EXCHANGE, own)
        await attack(broker, own, b"mine", targets=(service_exchange(SHOPPING),))
        arrived = 0
        with contextlib.suppress(aio_pika.exceptions.QueueEmpty, PublishError):
            while await queue.get(no_ack=True):
                arrived += 1
        assert arrived >= len(METHODS)
