"""Who may do what on the broker: RabbitMQ's permissions for each role, made from the topology.

RabbitMQ checks a topic permission where a message is published, and never again: whoever may declare an exchange or a
queue can bind or dead-letter it into any exchange that it may write to, under any routing key. So a role that declares
gets write permission only for exchanges that pass on what is harmless, or what it may send anyway.
"""

import re
from dataclasses import dataclass

from shared.amqp.topology import EVENTS_EXCHANGE, PROBES_EXCHANGE, RPC_EXCHANGE, presence_key, subscriber_queue
from shared.contracts import OPERATIONS
from shared.contracts.events import revocations_key
from shared.contracts.health import HEALTH
from shared.contracts.operation import Lane
from shared.contracts.tenant_enable import TENANT_ENABLE
from shared.contracts.tenant_register import TENANT_REGISTER

#: What permissions call the default exchange, which reaches every queue by its name.
DEFAULT_EXCHANGE = "amq.default"
NOTHING = "^$"
#: Under this name the edge's queues begin (`api.main.SUBSCRIBER`).
EDGE = "edge"

#: The user by which Kubernetes' autoscaling looks how long the lanes' queues are.
QUEUE_LENGTH = "queue-length"

#: What a service has no business with. Who registers a tenant over AMQP says itself from which address; to enable one
#: is for operators.
NOT_FOR_SERVICES = {TENANT_REGISTER.name, TENANT_ENABLE.name, *(operation.name for operation in HEALTH.values())}
SERVICE_OPERATIONS = tuple(sorted(OPERATIONS.keys() - NOT_FOR_SERVICES))
#: By which callers ask whether a lane has workers: whoever may call may ask.
PRESENCE_KEYS = tuple(re.escape(presence_key(lane)) for lane in Lane)


@dataclass(frozen=True, slots=True)
class TopicPermission:
    """Which routing keys a user may publish to a topic exchange, and bind to it."""

    exchange: str
    write: str = NOTHING
    read: str = NOTHING


@dataclass(frozen=True, slots=True)
class Permissions:
    """Regular expressions for names of exchanges and queues."""

    configure: str
    write: str
    read: str
    topics: tuple[TopicPermission, ...] = ()
    tags: tuple[str, ...] = ()
    """`management`: may ask the management interface about what is in its virtual host. None otherwise."""


def service_exchange(service: str) -> str:
    """Takes a service's requests, and passes on to `rpc` those of the operations that are bound."""
    return f"calls.{service}"


def edge() -> Permissions:
    """Calls every operation, and takes everybody's revocations."""
    return _subscriber(EDGE, writes=RPC_EXCHANGE, tenant="*")


def worker() -> Permissions:
    """Consumes its lanes, whose queues it declares, and says it is there; replies to anyone; announces revocations."""
    lanes = _name(RPC_EXCHANGE) + r"\..*"
    return Permissions(
        configure=_whole(lanes),
        write=_whole(_name(DEFAULT_EXCHANGE), _name(EVENTS_EXCHANGE), lanes),
        read=_whole(_name(RPC_EXCHANGE), _name(PROBES_EXCHANGE), lanes),
        topics=(
            TopicPermission(PROBES_EXCHANGE, read=_whole(*PRESENCE_KEYS)),
            TopicPermission(EVENTS_EXCHANGE, write=_whole(_name(revocations_key("")) + r"[^.]+")),
            TopicPermission(RPC_EXCHANGE, read=_whole(*map(_name, sorted(OPERATIONS)))),
        ),
    )


def service(name: str, tenant: str) -> Permissions:
    """Calls the operations that are bound to its exchange, and takes the revocations of its tenant."""
    return _subscriber(name, writes=service_exchange(name), tenant=tenant)


def queue_length() -> Permissions:
    """Looks at queues by the management interface: it may enter the virtual host, and nothing in it."""
    return Permissions(configure=NOTHING, write=NOTHING, read=NOTHING, tags=("management",))


def _subscriber(name: str, *, writes: str, tenant: str) -> Permissions:
    own = _name(subscriber_queue(name)) + r"\..*"
    return Permissions(
        configure=_whole(own),
        write=_whole(_name(writes), _name(PROBES_EXCHANGE), own),
        read=_whole(_name(EVENTS_EXCHANGE), own),
        topics=(
            TopicPermission(EVENTS_EXCHANGE, read=_whole(_name(revocations_key(tenant)), own)),
            TopicPermission(PROBES_EXCHANGE, write=_whole(own, *PRESENCE_KEYS)),
        ),
    )


def _name(text: str) -> str:
    return re.escape(text)


def _whole(*alternatives: str) -> str:
    return f"^({'|'.join(alternatives)})$"
