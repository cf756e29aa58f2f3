"""The exchanges, queues and message headers of this service, as values.

Requests go to the topic exchange `rpc` under the name of their operation; each lane of workers has a queue bound to
the names it serves. Events go to the topic exchange `events`. A lane's queue lives as long as a worker consumes it
(durable, auto-delete): without a worker a request has nowhere to go, so the caller learns it at once instead of
waiting for its deadline (docs/decisions/0003). A replicated one (quorum) outlives its workers for some seconds
(docs/decisions/0014). Every lane's queue is bounded in length, bytes and age (docs/decisions/0033).
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractQueue
from pamqp.common import FieldTable

from ..contracts import OPERATIONS
from ..contracts.health import HEALTH
from ..contracts.operation import Lane

RPC_EXCHANGE = "rpc"
EVENTS_EXCHANGE = "events"
#: A service publishes to an exchange of its own, from which an administrator bound the permitted operations to `rpc`.
#: Messages keep the name of the exchange they were published to, so a worker knows which service sent a request.
_SERVICE_EXCHANGE_PREFIX = "calls."
#: A service's name, and any other part of a queue's or exchange's name that permissions of the broker go by: no dot,
#: since dots separate the parts.
NAME_PART = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: Keys that lead to subscribers' own queues. The exchanges of requests pass them on to `events`: so a feed can probe
#: its queue without permission to write to `events`, with which it could announce what never happened.
SUBSCRIBERS_KEYS = "sub.#"

#: Requests that may wait in a lane's queue; the broker refuses more. One worker process was measured to answer 650
#: small requests a second on two busy cores, so it works a full queue off well within a caller's deadline of 5 seconds.
#: Password work is slower, and has a setting (`AUTH_PASSWORD_QUEUE_LENGTH`).
LANE_MAX_LENGTH = 1_000
#: And bytes of them. The length alone would let 1,000 messages of the broker's largest size fill its memory, and 1,000
#: of the largest batches would take minutes. It is room for any single request that is within `max_body_bytes`.
LANE_MAX_BYTES = 64 * 1024 * 1024
#: How long a request without an `expiration` of its own may wait. Callers wait for 5 seconds by default; a request that
#: is older has nearly always been given up.
MESSAGE_TTL_MS = 60_000
#: How long a replicated queue stays without any consumer, since it knows no auto-delete: long enough for workers that
#: lost their node to come back, short enough that workers of another configuration find nothing of it.
QUORUM_EXPIRES_MS = 10_000

#: The pseudo-queue of direct reply-to, and the addresses that RabbitMQ makes of it: parts in base64.
DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"
REPLY_ADDRESS = re.compile(r"amq\.rabbitmq\.reply-to(\.[A-Za-z0-9+/=_-]+)+")

#: Absolute deadline of a request, in milliseconds since the epoch. `expiration` is not enough: it starts when the
#: message reaches the queue, and a broker in a memory alarm holds messages back before that.
DEADLINE_HEADER = "x-deadline-ms"
#: RabbitMQ's record of the queues that have dead-lettered a message. Nobody can take it off again.
DEATH_HEADER = "x-death"
#: The id under which this request stands in every log.
REQUEST_ID_HEADER = "x-request-id"

#: The AMQP `type` of a reply: which model its body is.
REPLY_TYPE = "reply"
ERROR_TYPE = "error"
JSON_TYPE = "application/json"


class QueueType(StrEnum):
    """Of a lane's queues. It is the workers' affair alone: callers publish to an exchange."""

    CLASSIC = "classic"
    """On one node, in its memory, and gone with the last worker."""
    QUORUM = "quorum"
    """On the disks of three nodes, one of which may be lost."""


@dataclass(frozen=True, slots=True)
class LaneQueue:
    """A queue of a lane: its name, the operations bound to it, and how many requests may wait in it."""

    name: str
    operations: tuple[str, ...]
    max_length: int = LANE_MAX_LENGTH
    """Beyond this the broker refuses the request, and the caller hears `overloaded` at once."""
    type: QueueType = QueueType.CLASSIC

    async def declare(self, channel: AbstractChannel) -> AbstractQueue:
        """Declare and bind the queue; safe to repeat while the arguments stay the same.

        Raises aiormq's `ChannelPreconditionFailed`, and the channel is closed, if it exists with other arguments.
        """
        arguments: FieldTable = {
            "x-max-length": self.max_length,
            "x-max-length-bytes": LANE_MAX_BYTES,
            "x-overflow": "reject-publish",
            "x-message-ttl": MESSAGE_TTL_MS,
        }
        if self.type is QueueType.QUORUM:
            arguments |= {"x-queue-type": "quorum", "x-expires": QUORUM_EXPIRES_MS}
        auto_delete = self.type is QueueType.CLASSIC
        queue = await channel.declare_queue(self.name, durable=True, auto_delete=auto_delete, arguments=arguments)
        return await self._bound(queue)

    async def adopt(self, channel: AbstractChannel) -> AbstractQueue:
        """Bind the queue as it is, with the arguments that another worker declared it with.

        The channel is closed if there is no such queue.
        """
        return await self._bound(await channel.get_queue(self.name, ensure=False))

    async def _bound(self, queue: AbstractQueue) -> AbstractQueue:
        for operation in self.operations:
            await queue.bind(RPC_EXCHANGE, routing_key=operation)
        return queue


def lane_queue(lane: Lane, max_length: int = LANE_MAX_LENGTH, queue_type: QueueType = QueueType.CLASSIC) -> LaneQueue:
    """The queue of a lane's work."""
    health = HEALTH[lane].name
    names = tuple(name for name, operation in OPERATIONS.items() if operation.lane == lane and name != health)
    return LaneQueue(_typed(f"rpc.{lane}", queue_type), names, max_length, queue_type)


def health_queue(lane: Lane, queue_type: QueueType = QueueType.CLASSIC) -> LaneQueue:
    """The queue of a lane's health checks: they pass by the work that waits."""
    return LaneQueue(_typed(f"rpc.{lane}.health", queue_type), (HEALTH[lane].name,), type=queue_type)


def _typed(name: str, queue_type: QueueType) -> str:
    """A name is never used again for a queue of another type: RabbitMQ refuses that for as long as the first exists."""
    return name if queue_type is QueueType.CLASSIC else f"{name}.{queue_type}"


def service_exchange(service: str) -> str:
    """Return the name of the exchange that takes a service's requests."""
    return f"{_SERVICE_EXCHANGE_PREFIX}{service}"


def service_of(exchange: str) -> str | None:
    """Return the service whose exchange this is, or None for any other exchange.

    A service can bind exchanges of its own, named as it likes, into its exchange; requests by that way have no service.
    """
    name = exchange.removeprefix(_SERVICE_EXCHANGE_PREFIX)
    return name if name != exchange and NAME_PART.fullmatch(name) else None


def subscriber_queue(subscriber: str, *parts: str) -> str:
    """The name of a queue of events. A broker's user gets permission for all that begins with `sub.` and its name."""
    return ".".join(("sub", subscriber, *parts))


async def declare_exchanges(channel: AbstractChannel) -> tuple[AbstractExchange, AbstractExchange]:
    """Declare `rpc` and `events`, and the way of probes from one to the other; safe to repeat.

    An administrator's definitions (`deploy.definitions`) are stricter: users of this broker trust each other.
    """
    rpc = await channel.declare_exchange(RPC_EXCHANGE, ExchangeType.TOPIC, durable=True)
    events = await channel.declare_exchange(EVENTS_EXCHANGE, ExchangeType.TOPIC, durable=True)
    await events.bind(rpc, SUBSCRIBERS_KEYS)
    return rpc, events
