"""All messages published on a virtual host, from RabbitMQ's own tracer."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aio_pika
from aio_pika.abc import AbstractIncomingMessage
from yarl import URL

from shared.amqp.topology import RPC_EXCHANGE
from tests.backends import Backend

#: RabbitMQ, "Firehose Tracer": published messages are copied to this exchange under `publish.` and their exchange.
TRACE_EXCHANGE = "amq.rabbitmq.trace"
#: A message is traced within milliseconds; this ends the wait for one that was never published.
TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Published:
    """A message as its publisher sent it; `properties` are its AMQP properties without `headers`."""

    exchange: str
    routing_key: str
    properties: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, Any] = field(default_factory=dict)
    body: bytes = b""


class Firehose:
    """The messages so far, in order of arrival."""

    def __init__(self) -> None:
        self.published: list[Published] = []
        self._arrived = asyncio.Event()

    async def wait_for(self, satisfied: Callable[[Sequence[Published]], bool]) -> None:
        """Wait until the messages satisfy the condition. Raise `TimeoutError` after half a minute."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not satisfied(self.published):
                self._arrived.clear()
                await self._arrived.wait()

    async def accept(self, message: AbstractIncomingMessage) -> None:
        traced: dict[str, Any] = dict(message.headers)
        properties = dict(traced["properties"])
        headers = properties.pop("headers", None) or {}
        (routing_key,) = traced["routing_keys"]
        self.published.append(Published(traced["exchange_name"], routing_key, properties, headers, message.body))
        self._arrived.set()


def all_answered(published: Sequence[Published]) -> bool:
    """Return whether every request so far has a reply."""
    requests = sum(message.exchange == RPC_EXCHANGE and "reply_to" in message.properties for message in published)
    return requests == sum(not message.exchange for message in published) > 0


@contextlib.asynccontextmanager
async def open_firehose(backend: Backend, amqp_url: str) -> AsyncIterator[Firehose]:
    """Trace everything that is published on the virtual host of this URL until the block ends."""
    vhost = URL(amqp_url).path.removeprefix("/")
    firehose = Firehose()
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(TRACE_EXCHANGE, routing_key="publish.#")
        await queue.consume(firehose.accept, no_ack=True)
        await backend.ctl(["trace_on", "-p", vhost])
        try:
            yield firehose
        finally:
            await backend.ctl(["trace_off", "-p", vhost])
