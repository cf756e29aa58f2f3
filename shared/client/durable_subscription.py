"""A named queue of a tenant's revocations that outlives its consumers: for a mailer, an audit, a webhook.

The queue is a quorum queue: it is replicated where the broker has several nodes, and it counts deliveries, so that an
event which kills its consumer each time is set aside after some. What is given up goes to a queue of the same name
and `.dead`, for somebody to look at.
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

#: These three never change: RabbitMQ refuses to declare a queue again with other arguments.
#: Deliveries of one event, each to a consumer that died or was cut off with it, before it is set aside.
DELIVERY_LIMIT = 10
#: Events given up are kept for two weeks, and so many of them: enough to be noticed, not enough to fill a disk.
DEAD_TTL_MS = 14 * 24 * 3600 * 1000
DEAD_MAX_LENGTH = 100_000


class Delivery:
    """One event, held until it is settled. Not settled, it comes again."""

    def __init__(self, event: SessionRevokedEvent, message: AbstractIncomingMessage) -> None:
        self.event = event
        self._message = message

    async def ack(self) -> None:
        """It has been dealt with, and does not come again; but if the connection is lost by now, it may."""
        await self._settle(self._message.ack(), "event is dealt with, but comes again")

    async def dead_letter(self) -> None:
        """Sets it aside, in the queue of dead letters."""
        await self._settle(self._message.reject(requeue=False), "event is given up, but comes again")

    async def _settle(self, settling: Awaitable[None], otherwise: str) -> None:
        try:
            with lost_connections():
                await settling
        except ConnectionLost as error:
            log.warning(otherwise, extra={"event_id": self.event.id, "error": str(error)})


class DurableSubscription:
    """Takes events from the named queue, one at a time; an async context manager that never blocks its user.

    Several processes with the same name share the work: each event goes to one of them.
    """

    def __init__(self, urls: Sequence[str], name: str, *, queue: Callable[[], Awaitable[tuple[str, str]]]) -> None:
        """`queue` finds out the queue's name and the tenant whose events it takes."""
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
        """Returns when the queue is bound: what happens from now on is in it."""
        await self._connection.connected.wait()

    async def next(self) -> Delivery:
        """The next event, when there is one."""
        return await self._deliveries.get()

    async def _subscribe(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        name, tenant = await self._queue()
        channel = await connection.channel(publisher_confirms=False)
        # One at a time: what is held when a consumer dies counts as delivered, tried or not.
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
                # A dead letter leaves this queue when the other has confirmed it. That needs this overflow behaviour,
                # which never sets in without a maximum length.
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
            log.error("event cannot be read and is set aside", extra={"problems": error.error_count()})  # noqa: TRY400 - the traceback says nothing more
            await message.reject(requeue=False)
            return
        self._deliveries.put_nowait(Delivery(event, message))

    def _drop_deliveries(self) -> None:
        while not self._deliveries.empty():
            self._deliveries.get_nowait()  # the broker gives it to the next consumer
