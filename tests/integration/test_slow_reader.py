"""A broker that does not read replies stops a worker's requests; the replies do not fill its memory."""

import asyncio

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from shared.amqp.connection import Connection
from shared.amqp.topology import DIRECT_REPLY_TO, JSON_TYPE, RPC_EXCHANGE, LaneQueue
from shared.contracts.auth_verify import AUTH_VERIFY
from shared.contracts.token_introspect import TokenIntrospectReply
from shared.contracts.wire import WireModel
from tests.fakes import ports
from tests.integration.proxy import Proxy
from worker.amqp.consumer import Consumer, Consumption
from worker.amqp.replies import Replies
from worker.domain.call import Call
from worker.domain.ports import Ports

PREFETCH = 16
REQUESTS = 200
#: All replies together are four times what Linux buffers of one connection (`tcp_rmem`, `tcp_wmem`: 6 and 4 MiB).
REPLY = TokenIntrospectReply(active=True, scope="x" * 200_000)
#: Without a new request for this long, the worker has stopped. A heartbeat may be missing for ten seconds.
SETTLED_SECONDS = 1.0
PATIENCE_SECONDS = 60


async def test_worker_whose_replies_are_not_read_takes_no_more_requests(amqp_url: str) -> None:
    """A reply that did not wait for the socket would free its prefetch slot, and its bytes would stay in memory."""
    handled = 0

    async def answer(_request: WireModel, _call: Call, _ports: Ports) -> WireModel:
        nonlocal handled
        handled += 1
        return REPLY

    async def ignore(message: AbstractIncomingMessage) -> None:
        del message

    queue = LaneQueue("rpc.test.slow-reader", (AUTH_VERIFY.name,))
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        Proxy(amqp_url) as proxy,
        Replies([proxy.url], "test replies") as replies,
        await aio_pika.connect(amqp_url) as caller,
    ):
        consumer = Consumer([Consumption(queue, PREFETCH)], {AUTH_VERIFY.name: answer}, ports(), replies)
        async with Connection([amqp_url], "test worker", consumer.setup) as connection:
            await connection.connected.wait()
            channel = await caller.channel()
            await (await channel.get_queue(DIRECT_REPLY_TO)).consume(ignore, no_ack=True)
            exchange = await channel.get_exchange(RPC_EXCHANGE, ensure=False)
            body = b'{"checks": [{"tenantToken": "t", "token": "t"}]}'
            proxy.hold()
            for _ in range(REQUESTS):
                request = aio_pika.Message(body, content_type=JSON_TYPE, reply_to=DIRECT_REPLY_TO)
                await exchange.publish(request, AUTH_VERIFY.name)
            taken = -1
            while taken != handled:
                taken = handled
                await asyncio.sleep(SETTLED_SECONDS)
            held, in_flight = handled, consumer.in_flight
            proxy.let_through()
            while handled < REQUESTS or consumer.in_flight:  # noqa: ASYNC110 - the worker continues by itself
                await asyncio.sleep(0.01)
    assert held < REQUESTS / 2
    assert in_flight == PREFETCH
