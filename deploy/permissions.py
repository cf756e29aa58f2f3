"""Who may do what on the broker: RabbitMQ's permissions for each role, made from the topology.

RabbitMQ checks a topic permission once, where a message is published, and against its first routing key only. A user
that may declare an exchange or a queue can bind or dead-letter it into any exchange that it may write to, under any
routing key, and can add routing keys in the headers `CC` and `BCC`. So receivers go by the exchange and the key that
a delivery names, and a role gets write permission only for exchanges that pass on what is harmless
(docs/decisions/0027).
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from shared.amqp.topology import (
    EVENTS_EXCHANGE,
    NAME_PART,
    RPC_EXCHANGE,
    service_exchange,
    subscriber_queue,
)
from shared.contracts import OPERATIONS
from shared.contracts.event_list import EVENT_LIST
from shared.contracts.events import revocations_key
from shared.contracts.health import HEALTH
from shared.contracts.tenant_enable import TENANT_ENABLE
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.tenant_register import TENANT_REGISTER
from shared.contracts.tenant_verify import TENANT_VERIFY

#: What permissions call the default exchange, which reaches every queue by its name.
DEFAULT_EXCHANGE = "amq.default"
NOTHING = "^$"
#: Under this name the edge's queues begin (`api.main.SUBSCRIBER`).
EDGE = "edge"
WORKER = "worker"

#: The user by which Kubernetes' autoscaling looks how long the lanes' queues are.
QUEUE_LENGTH = "queue-length"

#: What a service has no business with. Who registers a tenant over AMQP says itself from which address; to enable one
#: is for operators.
NOT_FOR_SERVICES = {TENANT_REGISTER.name, TENANT_ENABLE.name, *(operation.name for operation in HEALTH.values())}
SERVICE_OPERATIONS = tuple(sorted(OPERATIONS.keys() - NOT_FOR_SERVICES))
#: What `AuthClient` calls by itself: it logs its tenant in, asks which tenant that is before it subscribes, and asks
#: for the events that it missed.
CLIENT_OPERATIONS = tuple(sorted((TENANT_LOGIN.name, TENANT_VERIFY.name, EVENT_LIST.name)))
#: Before the names of our users on a broker that others use, too: users belong to the whole of it, and `worker` may be
#: somebody's already.
SHARED_BROKER_PREFIX = "jincor-auth-"
#: Users that are there already and would become the service's. `guest` is RabbitMQ's own.
TAKEN_NAMES = frozenset(
    {"guest", *(prefix + role for role in (EDGE, WORKER, QUEUE_LENGTH) for prefix in ("", SHARED_BROKER_PREFIX))}
)


@dataclass(frozen=True, slots=True)
class TopicPermission:
    """Which routing keys a user may publish to a topic exchange, and bind to it."""

    exchange: str
    write: str = NOTHING
    read: str = NOTHING


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of the broker's connections a user may take, on all nodes together."""

    max_connections: int
    max_channels: int


#: A process of a service takes a connection for its calls, and one for each cache and each subscription: mostly three,
#: each with one channel. So this is enough for sixteen processes, or for eight while they are replaced one by one.
SERVICE_LIMITS = Limits(max_connections=50, max_channels=100)


@dataclass(frozen=True, slots=True)
class Permissions:
    """Regular expressions for names of exchanges and queues."""

    configure: str
    write: str
    read: str
    topics: tuple[TopicPermission, ...] = ()
    tags: tuple[str, ...] = ()
    """`management`: may ask the management interface about what is in its virtual host. None otherwise."""


def service_operations(wanted: Collection[str]) -> tuple[str, ...]:
    """What a service may call that wants these: they, and what its client needs. Raises `ValueError` for others."""
    if unknown := set(wanted) - set(SERVICE_OPERATIONS):
        raise ValueError(f"not for services: {', '.join(sorted(unknown))}")
    return tuple(sorted({*wanted, *CLIENT_OPERATIONS}))


def service_name(name: str) -> str:
    """The name, if a service may have it. Raises `ValueError`.

    It is the service's user, a part of its exchange's and queues' names, and what it calls itself to `AuthClient`.
    """
    if not NAME_PART.fullmatch(name):
        raise ValueError(f"a service's name is 1 to 64 letters, digits, `-` or `_`, not {name!r}")
    if name in TAKEN_NAMES:
        raise ValueError(f"{name!r} is a user of the broker already, and not a service's")
    return name


def edge() -> Permissions:
    """Calls every operation, and takes everybody's revocations."""
    return _subscriber(EDGE, writes=RPC_EXCHANGE, tenant="*", topics=())


def worker() -> Permissions:
    """Consumes its lanes, whose queues it declares; replies to anyone; announces revocations."""
    lanes = _name(RPC_EXCHANGE) + r"\..*"
    return Permissions(
        configure=_whole(lanes),
        write=_whole(_name(DEFAULT_EXCHANGE), _name(EVENTS_EXCHANGE), lanes),
        read=_whole(_name(RPC_EXCHANGE), lanes),
        topics=(
            TopicPermission(EVENTS_EXCHANGE, write=_whole(_name(revocations_key("")) + r"[^.]+")),
            TopicPermission(RPC_EXCHANGE, read=_whole(*map(_name, sorted(OPERATIONS)))),
        ),
    )


def service(name: str, tenant: str, operations: Collection[str] = SERVICE_OPERATIONS) -> Permissions:
    """Calls these operations, which are bound to its exchange, and takes the revocations of its tenant."""
    exchange = service_exchange(name)
    # Its bindings alone would let a request pass under a second key, while the worker goes by the first.
    calls = TopicPermission(exchange, write=_whole(*map(_name, sorted(operations)), _own(name)))
    return _subscriber(name, writes=exchange, tenant=tenant, topics=(calls,))


def queue_length() -> Permissions:
    """Looks at queues by the management interface: it may enter the virtual host, and nothing in it."""
    return Permissions(configure=NOTHING, write=NOTHING, read=NOTHING, tags=("management",))


def _subscriber(name: str, *, writes: str, tenant: str, topics: Sequence[TopicPermission]) -> Permissions:
    own = _own(name)
    return Permissions(
        configure=_whole(own),
        write=_whole(_name(writes), own),
        read=_whole(_name(EVENTS_EXCHANGE), own),
        topics=(
            TopicPermission(EVENTS_EXCHANGE, read=_whole(_name(revocations_key(tenant)), own)),
            *topics,
        ),
    )


def _own(name: str) -> str:
    """Return a pattern of a subscriber's own names: of its queues, its exchanges and the keys of its probes."""
    return _name(subscriber_queue(name)) + r"\..*"


def _name(text: str) -> str:
    return re.escape(text)


def _whole(*alternatives: str) -> str:
    return f"^({'|'.join(alternatives)})$"
