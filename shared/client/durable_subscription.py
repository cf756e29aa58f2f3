"""A named queue of a tenant's revocations that outlives its consumers, for example for a mailer or
an audit.

The queue is a quorum queue: it is replicated if the broker has several nodes, and it counts
deliveries. An event that crashes its consumer every time is dead-lettered after `DELIVERY_LIMIT`
deliveries. Dead letters go to a queue with the suffix `.dead`, for an operator to inspect.
"""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Self

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from pydantic import ValidationError

from ..amqp.announcement import IgnoredMessages, NotAnnounced, read_event
from ..amqp.connection import (
    REPLICATED_SETUP_TIMEOUT_SECONDS,
    Connection,
    ConnectionLost,
    lost_connections,
)
from ..amqp.topology import EVENTS_EXCHANGE
from ..contracts.events import SessionRevokedEvent, revocations_key

log = logging.getLogger(__name__)

# The next three never change, because RabbitMQ refuses to declare an existing queue with other
# arguments.
#: Deliveries of one event, each to a consumer that crashed or was disconnected, before it is
#: dead-lettered.
DELIVERY_LIMIT = 10
#: Maximum age and number of dead letters: enough to be noticed, not enough to fill a disk.
DEAD_TTL_MS = 14 * 24 * 3600 * 1000
DEAD_MAX_LENGTH = 100_000


class Delivery:
    """One event to acknowledge or dead-letter. Otherwise the broker redelivers it."""

    def __init__(self, event: SessionRevokedEvent, message: AbstractIncomingMessage) -> None:
        self.event = event
        self._message = message

    async def ack(self) -> None:
        """Acknowledge the event. If the connection is already lost, the broker redelivers it."""
        await self._settle(self._message.ack(), "event was handled but will be redelivered")

    async def dead_letter(self) -> None:
        """Move the event to the dead-letter queue."""
        await self._settle(self._message.reject(requeue=False), "event was rejected but will be redelivered")

    async def _settle(self, settling: Awaitable[None], otherwise: str) -> None:
        try:
            with lost_connections():
                await settling
        except ConnectionLost as error:
            log.warning(otherwise, extra={"event_id": self.event.id, "error": str(error)})


class DurableSubscription:
    """Consumes the named queue, one event at a time; an async context manager that never blocks.

    Processes with the same queue name share its events: each event goes to one of them.
    """

    def __init__(self, urls: Sequence[str], name: str, *, queue: Callable[[], Awaitable[tuple[str, str]]]) -> None:
        """`queue` returns the name of the queue and the id of the tenant whose events it
        collects."""
        self._queue = queue
        self._deliveries: asyncio.Queue[Delivery] = asyncio.Queue()
        self._ignored = IgnoredMessages()
        self._connection = Connection(
            urls,
            name,
            self._subscribe,
            self._drop_deliveries,
            setup_timeout_seconds=REPLICATED_SETUP_TIMEOUT_SECONDS,
        )

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._connection.__aexit__(*exc_info)

    async def subscribed(self) -> None:
        """Return when the queue is bound: later events reach it."""
        await self._connection.connected.wait()

    async def next(self) -> Delivery:
        """Wait for the next event and return it."""
        return await self._deliveries.get()

    async def _subscribe(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        name, tenant = await self._queue()
        channel = await connection.channel(publisher_confirms=False)
        # One at a time: when a consumer crashes, all its unacknowledged events count as delivered.
        await channel.set_qos(prefetch_count=1)
        dead = f"{name}.dead"
        dead_letters = await channel.declare_exchange(dead, ExchangeType.FANOUT, durable=True)
        dead_queue = await channel.declare_queue(
            dead,
            durable=True,
            arguments={"x-queue-type": "quorum", "x-message-ttl": DEAD_TTL_MS, "x-max-length": DEAD_MAX_LENGTH},
        )
        await dead_queue.bind(dead_letters)
        queue = await channel.declare_queue(
            name,
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-delivery-limit": DELIVERY_LIMIT,
                "x-dead-letter-exchange": dead,
                # An event leaves this queue only when the dead-letter queue has confirmed it. That
                # requires this overflow behaviour, which has no other effect without a maximum
                # length.
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            },
        )
        await queue.bind(EVENTS_EXCHANGE, routing_key=revocations_key(tenant))
        await queue.consume(functools.partial(self._accept, tenant))
        return [channel]

    async def _accept(self, tenant: str, message: AbstractIncomingMessage) -> None:
        try:
            event = read_event(message, tenant)
        except NotAnnounced:
            self._ignored.add(message)
            await message.ack()
            return
        except ValidationError as error:
            log.error("event cannot be parsed and is dead-lettered", extra={"problems": error.error_count()})  # noqa: TRY400 - the traceback says nothing more
            await message.reject(requeue=False)
            return
        self._deliveries.put_nowait(Delivery(event, message))

    def _drop_deliveries(self) -> None:
        while not self._deliveries.empty():
            self._deliveries.get_nowait()  # the broker redelivers it
