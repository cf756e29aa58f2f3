"""RabbitMQ's definitions: the exchanges an administrator declares, limits of queues, and users with their permissions.

A file for `load_definitions` or `rabbitmqctl import_definitions`. Importing it again changes what differs and removes
nothing. Lanes' queues are not in it: they live with their workers (docs/decisions/0003).
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

#: RabbitMQ, "Passwords": the salt of its hashes has four bytes.
SALT_BYTES = 4
HASHING = "rabbit_password_hashing_sha256"

#: Takes the probes that the exchanges of requests pass on, and hands them to `events` as its alternate exchange. A
#: message that has the key of a revocation, too, goes to `DISCARD_EXCHANGE` instead: RabbitMQ routes it under each key
#: in its headers `CC` and `BCC`, and no permission covers those.
SCREEN_EXCHANGE = "screen"
#: Has no bindings: what is routed here is dropped, or returned if it was published as mandatory.
DISCARD_EXCHANGE = "discard"
REVOCATIONS_KEYS = "session.#"

#: What a subscriber's queue may hold. An event has about 600 bytes, so this is a hundred thousand: as many as the queue
#: of dead letters keeps. The length counts, too, because RabbitMQ's bytes are those of bodies without headers.
SUBSCRIBER_MAX_BYTES = 64 * 1024 * 1024
SUBSCRIBER_MAX_LENGTH = 100_000
#: A subscriber's queue that nobody consumes for two weeks is removed, with what is in it: longer than any holiday of a
#: mailer, shorter than the time in which forgotten queues fill a disk. Streams know no expiry.
SUBSCRIBER_EXPIRES_MS = 14 * 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the broker."""

    user: str
    password: str | None
    """None: the broker has this user, whose password and tags stay as they are."""
    permissions: Permissions
    limits: Limits | None = None
    """None: unlimited, or as the broker's operator has set it."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service's way to the operations it may call."""

    name: str
    operations: tuple[str, ...]


def definitions(vhost: str, accounts: Sequence[Account], services: Sequence[Service] = ()) -> dict[str, Any]:
    """All of it for one virtual host. Passwords are in it as salted hashes."""
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
        # Queues that older workers declared keep their arguments. A policy holds for those, too; the stricter counts.
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
            # RabbitMQ applies a policy to no stream that does not know all of its terms, and takes the next one.
            _operator_policy(
                vhost,
                "jincor-auth-subscribers-streams",
                priority=0,
                definition={"max-length-bytes": SUBSCRIBER_MAX_BYTES},
            ),
        ],
    }


def limits_of(limits: Limits) -> dict[str, int]:
    """Return a user's limits as definitions and `rabbitmqctl set_user_limits` spell them."""
    return {"max-connections": limits.max_connections, "max-channels": limits.max_channels}


def _operator_policy(vhost: str, name: str, *, priority: int, definition: dict[str, int]) -> dict[str, Any]:
    """An upper bound for subscribers' queues: a queue's own arguments and other policies can only lower it."""
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
    """Return an exchange; nobody can publish to an internal one, whatever is bound to it."""
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
