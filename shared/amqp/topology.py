"""The exchanges, queues and message headers of this service, as values.

- Requests go to the topic exchange `rpc`, with the operation's name as routing key. Each lane of
  workers has a queue that is bound to the names of its operations.
- Events go to the topic exchange `events`.
- The queue of a lane exists while a worker consumes it (durable, auto-delete). Without a worker the
  broker returns the request, so the caller fails at once instead of at its deadline
  (docs/decisions/0003).
- A replicated queue (quorum) outlives its workers for some seconds (docs/decisions/0014).
- Every queue of a lane is limited in length, bytes and message age (docs/decisions/0033).
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
#: Prefix of the exchange that a service publishes to. An administrator binds it to `rpc` for the
#: permitted operations. A message keeps the name of its first exchange, so a worker knows which
#: service sent it.
_SERVICE_EXCHANGE_PREFIX = "calls."
#: A service's name, and other parts of queue and exchange names that broker permissions match. A
#: part has no dot, because dots separate parts.
NAME_PART = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: Routing keys of subscribers' own queues. Exchanges for requests pass messages with these keys on
#: to `events`. So a feed can probe its queue without permission to publish events, which it could
#: forge.
SUBSCRIBERS_KEYS = "sub.#"

#: Maximum length of a lane's queue; the broker refuses more requests. One worker process was
#: measured to answer 650 small requests a second on two busy cores. So it drains a full queue well
#: within a caller's deadline of 5 seconds. The slower lane of passwords has a setting,
#: `AUTH_PASSWORD_QUEUE_LENGTH`.
LANE_MAX_LENGTH = 1_000
#: Maximum size of a lane's queue. Without it, 1,000 messages of the largest size could fill the
#: broker's memory, and 1,000 of the largest batches would take minutes. Any single request within
#: `max_body_bytes` fits.
LANE_MAX_BYTES = 64 * 1024 * 1024
#: Maximum age of a request without its own `expiration`. Callers wait for 5 seconds by default, so
#: an older request nearly always has no caller any more.
MESSAGE_TTL_MS = 60_000
#: Time that a replicated queue exists without a consumer, because quorum queues have no
#: auto-delete. It is long enough for workers to reconnect after the loss of a node. It is short
#: enough that workers with another configuration do not find the old queue.
QUORUM_EXPIRES_MS = 10_000

#: The pseudo-queue of direct reply-to, and the form of the reply addresses that RabbitMQ derives
#: from it.
DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"
REPLY_ADDRESS = re.compile(r"amq\.rabbitmq\.reply-to(\.[A-Za-z0-9+/=_-]+)+")

#: Header with the absolute deadline of a request, in milliseconds since the epoch. `expiration` is
#: not enough: it starts when the message reaches the queue, and a broker in a memory alarm delays
#: messages before that.
DEADLINE_HEADER = "x-deadline-ms"
#: Header in which RabbitMQ records the queues that dead-lettered a message. Clients cannot remove
#: it.
DEATH_HEADER = "x-death"
#: Header with the id of the request in all logs.
REQUEST_ID_HEADER = "x-request-id"

#: The AMQP `type` of a reply and of an error reply, which tells the model of the body.
REPLY_TYPE = "reply"
ERROR_TYPE = "error"
JSON_TYPE = "application/json"


class QueueType(StrEnum):
    """The type of a lane's queues. Only workers need the type: callers publish to an exchange."""

    CLASSIC = "classic"
    """On one node, in memory. The broker deletes it with its last consumer."""
    QUORUM = "quorum"
    """Replicated on the disks of three nodes, of which one may be lost."""


@dataclass(frozen=True, slots=True)
class LaneQueue:
    """A queue of a lane: its name, the operations bound to it, and its maximum length."""

    name: str
    operations: tuple[str, ...]
    max_length: int = LANE_MAX_LENGTH
    """Requests in the queue. The broker refuses more, and their callers get `overloaded` at
    once."""
    type: QueueType = QueueType.CLASSIC

    async def declare(self, channel: AbstractChannel) -> AbstractQueue:
        """Declare and bind the queue. It can be repeated with the same arguments.

        Raises aiormq's `ChannelPreconditionFailed`, and the broker closes the channel, if the queue
        exists with other arguments.
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
        """Bind the existing queue, whatever arguments another worker declared it with.

        The broker closes the channel if the queue does not exist.
        """
        return await self._bound(await channel.get_queue(self.name, ensure=False))

    async def _bound(self, queue: AbstractQueue) -> AbstractQueue:
        for operation in self.operations:
            await queue.bind(RPC_EXCHANGE, routing_key=operation)
        return queue


def lane_queue(lane: Lane, max_length: int = LANE_MAX_LENGTH, queue_type: QueueType = QueueType.CLASSIC) -> LaneQueue:
    """Return the queue of a lane for all its operations except the health check."""
    health = HEALTH[lane].name
    names = tuple(name for name, operation in OPERATIONS.items() if operation.lane == lane and name != health)
    return LaneQueue(_typed(f"rpc.{lane}", queue_type), names, max_length, queue_type)


def health_queue(lane: Lane, queue_type: QueueType = QueueType.CLASSIC) -> LaneQueue:
    """Return the queue of a lane's health checks, which do not wait behind other requests."""
    return LaneQueue(_typed(f"rpc.{lane}.health", queue_type), (HEALTH[lane].name,), type=queue_type)


def _typed(name: str, queue_type: QueueType) -> str:
    """Return the queue name with a suffix for each type but classic.

    RabbitMQ refuses to declare a queue of another type under the name of an existing queue.
    """
    return name if queue_type is QueueType.CLASSIC else f"{name}.{queue_type}"


def service_exchange(service: str) -> str:
    """Return the name of the exchange that takes a service's requests."""
    return f"{_SERVICE_EXCHANGE_PREFIX}{service}"


def service_of(exchange: str) -> str | None:
    """Return the service that owns this exchange, or None for any other exchange.

    A service can bind further exchanges, with any name, to its exchange. This function returns None
    for them, so requests that arrive through them have no service.
    """
    name = exchange.removeprefix(_SERVICE_EXCHANGE_PREFIX)
    return name if name != exchange and NAME_PART.fullmatch(name) else None


def subscriber_queue(subscriber: str, *parts: str) -> str:
    """Return the name of a subscriber's queue.

    A broker user has permission for all names that begin with `sub.` and its own name.
    """
    return ".".join(("sub", subscriber, *parts))


async def declare_exchanges(channel: AbstractChannel) -> tuple[AbstractExchange, AbstractExchange]:
    """Declare `rpc` and `events`, and the binding for probes between them. Idempotent.

    With this topology all broker users must trust each other. The definitions that an administrator
    imports (`deploy.definitions`) are stricter.
    """
    rpc = await channel.declare_exchange(RPC_EXCHANGE, ExchangeType.TOPIC, durable=True)
    events = await channel.declare_exchange(EVENTS_EXCHANGE, ExchangeType.TOPIC, durable=True)
    await events.bind(rpc, SUBSCRIBERS_KEYS)
    return rpc, events
