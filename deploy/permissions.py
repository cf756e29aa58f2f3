"""RabbitMQ permissions of each role, derived from the topology.

RabbitMQ checks a topic permission only at the first publish, and only for the first routing key. A user
that may declare an exchange or a queue can bind or dead-letter it into any exchange that it may write to,
under any routing key. It can also add routing keys in the headers `CC` and `BCC`. Receivers therefore
check the exchange and the routing key of each delivery, and a role may write only to exchanges that
pass on harmless messages (docs/decisions/0027).
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
from shared.contracts.audit_search import AUDIT_SEARCH
from shared.contracts.event_list import EVENT_LIST
from shared.contracts.events import revocations_key
from shared.contracts.health import HEALTH
from shared.contracts.permissions import TENANT_PERMISSIONS
from shared.contracts.principal_get import PRINCIPAL_GET
from shared.contracts.tenant_complete_reset import TENANT_COMPLETE_RESET
from shared.contracts.tenant_enable import TENANT_ENABLE
from shared.contracts.tenant_get import TENANT_GET
from shared.contracts.tenant_list import TENANT_LIST
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.tenant_register import TENANT_REGISTER
from shared.contracts.tenant_reset import TENANT_RESET
from shared.contracts.tenant_revoke_sessions import TENANT_REVOKE_SESSIONS
from shared.contracts.tenant_verify import TENANT_VERIFY
from shared.contracts.user_search import USER_SEARCH

#: Name of the default exchange in permissions. It routes to every queue by name.
DEFAULT_EXCHANGE = "amq.default"
NOTHING = "^$"
#: Subscriber name of edges, with which their queues begin (`api.main.SUBSCRIBER`).
EDGE = "edge"
WORKER = "worker"

#: User that reads the lengths of the lanes' queues for autoscaling on Kubernetes.
QUEUE_LENGTH = "queue-length"

#: Operations that services may not call. Over AMQP the caller of `tenant.register` states its own address, so no
#: network rule can apply. The others are for operators, who use an edge, and for a tenant to which one gave a code.
NOT_FOR_SERVICES = {
    TENANT_REGISTER.name,
    TENANT_ENABLE.name,
    *(name for name in OPERATIONS if name.startswith("operator.")),
    *(operation.name for operation in HEALTH.values()),
    TENANT_LIST.name,
    TENANT_GET.name,
    TENANT_REVOKE_SESSIONS.name,
    TENANT_RESET.name,
    TENANT_COMPLETE_RESET.name,
    USER_SEARCH.name,
    AUDIT_SEARCH.name,
}
SERVICE_OPERATIONS = tuple(sorted(OPERATIONS.keys() - NOT_FOR_SERVICES))
#: Operations that `AuthClient` calls on its own in every service: it logs its tenant in, and reads the tenant's id.
IDENTITY_OPERATIONS = tuple(sorted((TENANT_LOGIN.name, TENANT_VERIFY.name, PRINCIPAL_GET.name)))
#: The same, plus the list of missed events, for services that receive events.
CLIENT_OPERATIONS = tuple(sorted((*IDENTITY_OPERATIONS, EVENT_LIST.name)))
#: Prefix of our users on a shared broker: users are global there, and `worker` may already exist.
SHARED_BROKER_PREFIX = "jincor-auth-"
#: Names of existing users, which a service would take over. `guest` is RabbitMQ's own.
TAKEN_NAMES = frozenset(
    {"guest", *(prefix + role for role in (EDGE, WORKER, QUEUE_LENGTH) for prefix in ("", SHARED_BROKER_PREFIX))}
)


@dataclass(frozen=True, slots=True)
class TopicPermission:
    """Patterns of the routing keys that a user may publish to a topic exchange (write) and bind (read)."""

    exchange: str
    write: str = NOTHING
    read: str = NOTHING


@dataclass(frozen=True, slots=True)
class Limits:
    """Maximum connections and channels of a user, on all nodes together."""

    max_connections: int
    max_channels: int


#: Enough for sixteen processes, or for eight during a rolling update. A process has a connection for calls, and one
#: for each cache and each subscription: usually three, each with one channel.
SERVICE_LIMITS = Limits(max_connections=50, max_channels=100)


@dataclass(frozen=True, slots=True)
class Permissions:
    """Regular expressions for names of exchanges and queues."""

    configure: str
    write: str
    read: str
    topics: tuple[TopicPermission, ...] = ()
    tags: tuple[str, ...] = ()
    """`management` permits reading the user's virtual host in the management interface."""


def service_operations(wanted: Collection[str]) -> tuple[str, ...]:
    """Return the wanted operations plus those of the client.

    Raises `ValueError` for operations that services may not call.
    """
    if unknown := set(wanted) - set(SERVICE_OPERATIONS):
        raise ValueError(f"services may not call: {', '.join(sorted(unknown))}")
    return tuple(sorted({*wanted, *CLIENT_OPERATIONS}))


def operations_of(wanted: Collection[str]) -> tuple[str, ...]:
    """Return the operations that these permissions allow, plus those that the client of every service needs.

    Raises `ValueError` for permissions that services may not have.
    """
    if not any(wanted):
        raise ValueError("must name at least one permission")
    if unknown := sorted(set(wanted) - TENANT_PERMISSIONS):
        known = ", ".join(sorted(TENANT_PERMISSIONS))
        raise ValueError(f"services may not have: {', '.join(unknown)}; expected some of {known}")
    allowed = {name for name in SERVICE_OPERATIONS if OPERATIONS[name].permission in wanted}
    return tuple(sorted({*allowed, *IDENTITY_OPERATIONS}))


def service_name(name: str) -> str:
    """Return the name if it is valid for a service, else raise `ValueError`.

    The name is the service's broker user, a part of the names of its exchange and queues, and its `name`
    for `AuthClient`.
    """
    if not NAME_PART.fullmatch(name):
        raise ValueError(f"the name of a service must be 1 to 64 letters, digits, `-` or `_`, not {name!r}")
    if name in TAKEN_NAMES:
        raise ValueError(f"{name!r} is the name of another broker user; choose another name")
    return name


def edge() -> Permissions:
    """Return the permissions of edges: call every operation, receive the revocations of all tenants."""
    return _subscriber(EDGE, writes=RPC_EXCHANGE, tenant="*", topics=())


def worker() -> Permissions:
    """Return the permissions of workers: declare and consume lane queues, reply, publish revocations."""
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


def service(
    name: str, tenant: str, operations: Collection[str] = SERVICE_OPERATIONS, *, events: bool = True
) -> Permissions:
    """Return the permissions of a service: call these operations and, with `events`, receive its tenant's events."""
    exchange = service_exchange(name)
    if not events:
        # An import removes nothing, so the permission of the events exchange is replaced by an empty one.
        calls = TopicPermission(exchange, write=_whole(*map(_name, sorted(operations))))
        topics = (TopicPermission(EVENTS_EXCHANGE), calls)
        return Permissions(configure=NOTHING, write=_whole(_name(exchange)), read=NOTHING, topics=topics)
    # The exchange's bindings are not enough: they would route a request by its second key, while workers use the first.
    calls = TopicPermission(exchange, write=_whole(*map(_name, sorted(operations)), _own(name)))
    return _subscriber(name, writes=exchange, tenant=tenant, topics=(calls,))


def queue_length() -> Permissions:
    """Return the permissions for reading queue lengths: management access to the virtual host, and nothing in it."""
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
    """Return a pattern of the subscriber's own names: queues, exchanges and routing keys of probes."""
    return _name(subscriber_queue(name)) + r"\..*"


def _name(text: str) -> str:
    return re.escape(text)


def _whole(*alternatives: str) -> str:
    return f"^({'|'.join(alternatives)})$"
