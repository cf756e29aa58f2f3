"""RabbitMQ definitions: exchanges, limits of queues, and users with their permissions.

For `load_definitions` or `rabbitmqctl import_definitions`. A repeated import updates what differs and
removes nothing. Workers declare the queues of lanes, so those are not here (docs/decisions/0003).
"""

import base64
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deploy.permissions import EDGE, Limits, Permissions
from shared.amqp.topology import (
    EVENTS_EXCHANGE,
    LANE_MAX_BYTES,
    LANE_MAX_LENGTH,
    MESSAGE_TTL_MS,
    RPC_EXCHANGE,
    service_exchange,
    subscriber_queue,
)

#: Salt size of RabbitMQ's password hashes (RabbitMQ documentation, "Passwords").
SALT_BYTES = 4
HASHING = "rabbit_password_hashing_sha256"

#: Receives probes from the request exchanges and passes them to `events`, its alternate exchange. A message that
#: also carries the routing key of a revocation goes to `DISCARD_EXCHANGE` instead. RabbitMQ routes by each key in
#: the headers `CC` and `BCC` too, and no permission covers those keys.
SCREEN_EXCHANGE = "screen"
#: Has no bindings: RabbitMQ drops messages routed here, or returns them if they are mandatory.
DISCARD_EXCHANGE = "discard"
REVOCATIONS_KEYS = "session.#"

#: Size limits of a subscriber's queue: about 100,000 events of 600 bytes, as in the dead-letter queue. The length
#: is limited too, because RabbitMQ counts only the bytes of bodies, not of headers.
SUBSCRIBER_MAX_BYTES = 64 * 1024 * 1024
SUBSCRIBER_MAX_LENGTH = 100_000
#: A subscriber's queue without a consumer is deleted after two weeks, with its messages. A mailer may be down for
#: days, but forgotten queues must not fill a disk. Streams do not support this limit.
SUBSCRIBER_EXPIRES_MS = 14 * 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Account:
    """A broker user."""

    user: str
    password: str | None
    """None: the user exists, and keeps its password and tags."""
    permissions: Permissions
    limits: Limits | None = None
    """None: unlimited, or as set by the broker's operator."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service and the operations that it may call."""

    name: str
    operations: tuple[str, ...]


def definitions(vhost: str, accounts: Sequence[Account], services: Sequence[Service] = ()) -> dict[str, Any]:
    """Return the definitions for one virtual host. Passwords appear as salted hashes."""
    return {
        "vhosts": [{"name": vhost}],
        "users": [_user(account, account.password) for account in accounts if account.password is not None],
        "permissions": [
            {
                "user": account.user,
                "vhost": vhost,
                "configure": account.permissions.configure,
                "write": account.permissions.write,
                "read": account.permissions.read,
            }
            for account in accounts
        ],
        "topic_permissions": [
            {"user": account.user, "vhost": vhost, "exchange": topic.exchange, "write": topic.write, "read": topic.read}
            for account in accounts
            for topic in account.permissions.topics
        ],
        "exchanges": [
            *(
                _topic_exchange(vhost, name)
                for name in (
                    RPC_EXCHANGE,
                    EVENTS_EXCHANGE,
                    *(service_exchange(service.name) for service in services),
                )
            ),
            _topic_exchange(vhost, SCREEN_EXCHANGE, internal=True, alternate=EVENTS_EXCHANGE),
            _topic_exchange(vhost, DISCARD_EXCHANGE, internal=True),
        ],
        "bindings": [
            _binding(vhost, SCREEN_EXCHANGE, DISCARD_EXCHANGE, REVOCATIONS_KEYS),
            _binding(vhost, RPC_EXCHANGE, SCREEN_EXCHANGE, subscriber_queue(EDGE, "#")),
            *(
                _binding(vhost, service_exchange(service.name), SCREEN_EXCHANGE, subscriber_queue(service.name, "#"))
                for service in services
            ),
            *(
                _binding(vhost, service_exchange(service.name), RPC_EXCHANGE, operation)
                for service in services
                for operation in service.operations
            ),
        ],
        "queues": [],
        # Queues declared by older workers keep their arguments. A policy applies to them too; the stricter value wins.
        "policies": [
            {
                "vhost": vhost,
                "name": "jincor-auth-lanes",
                "pattern": r"^rpc\.",
                "apply-to": "queues",
                "priority": 0,
                "definition": {
                    "max-length": LANE_MAX_LENGTH,
                    "max-length-bytes": LANE_MAX_BYTES,
                    "message-ttl": MESSAGE_TTL_MS,
                    "overflow": "reject-publish",
                },
            }
        ],
        "parameters": [
            _operator_policy(
                vhost,
                "jincor-auth-subscribers",
                priority=1,
                definition={
                    "max-length-bytes": SUBSCRIBER_MAX_BYTES,
                    "max-length": SUBSCRIBER_MAX_LENGTH,
                    "expires": SUBSCRIBER_EXPIRES_MS,
                },
            ),
            # RabbitMQ skips a policy for a stream that does not support all its keys, and applies the next one.
            _operator_policy(
                vhost,
                "jincor-auth-subscribers-streams",
                priority=0,
                definition={"max-length-bytes": SUBSCRIBER_MAX_BYTES},
            ),
        ],
    }


def limits_of(limits: Limits) -> dict[str, int]:
    """Return a user's limits in the form of definitions and of `rabbitmqctl set_user_limits`."""
    return {"max-connections": limits.max_connections, "max-channels": limits.max_channels}


def _operator_policy(vhost: str, name: str, *, priority: int, definition: dict[str, int]) -> dict[str, Any]:
    """Return an upper limit for subscribers' queues. Queue arguments and other policies can only lower it."""
    value = {"pattern": r"^sub\.", "apply-to": "queues", "priority": priority, "definition": definition}
    return {"vhost": vhost, "component": "operator_policy", "name": name, "value": value}


def _user(account: Account, password: str) -> dict[str, Any]:
    salt = secrets.token_bytes(SALT_BYTES)
    digest = hashlib.sha256(salt + password.encode()).digest()
    return {
        "name": account.user,
        "password_hash": base64.b64encode(salt + digest).decode(),
        "hashing_algorithm": HASHING,
        "tags": list(account.permissions.tags),
        **({"limits": limits_of(account.limits)} if account.limits else {}),
    }


def _topic_exchange(vhost: str, name: str, *, internal: bool = False, alternate: str | None = None) -> dict[str, Any]:
    """Return a topic exchange. Clients cannot publish to an internal exchange; only bindings reach it."""
    return {
        "name": name,
        "vhost": vhost,
        "type": "topic",
        "durable": True,
        "auto_delete": False,
        "internal": internal,
        "arguments": {"alternate-exchange": alternate} if alternate else {},
    }


def _binding(vhost: str, source: str, destination: str, routing_key: str) -> dict[str, Any]:
    return {
        "vhost": vhost,
        "source": source,
        "destination": destination,
        "destination_type": "exchange",
        "routing_key": routing_key,
        "arguments": {},
    }
