"""RabbitMQ's definitions: the exchanges an administrator declares, and the users with their permissions.

A file for `load_definitions` or `rabbitmqctl import_definitions`. Importing it again changes what differs and removes
nothing. Lanes' queues are not in it: they live with their workers (docs/decisions/0003).
"""

import base64
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deploy.permissions import Permissions
from shared.amqp.topology import (
    EVENTS_EXCHANGE,
    PROBES_EXCHANGE,
    RPC_EXCHANGE,
    SUBSCRIBERS_KEYS,
    service_exchange,
)

#: RabbitMQ, "Passwords": the salt of its hashes has four bytes.
SALT_BYTES = 4
HASHING = "rabbit_password_hashing_sha256"


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the broker."""

    user: str
    password: str | None
    """None: the broker has this user, whose password and tags stay as they are."""
    permissions: Permissions


@dataclass(frozen=True, slots=True)
class Service:
    """A service's way to the operations it may call."""

    name: str
    operations: tuple[str, ...]


def definitions(vhost: str, accounts: Sequence[Account], services: Sequence[Service] = ()) -> dict[str, Any]:
    """All of it for one virtual host. Passwords are in it as salted hashes."""
    return {
        "vhosts": [{"name": vhost}],
        "users": [
            _user(account.user, account.password, account.permissions.tags)
            for account in accounts
            if account.password is not None
        ],
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
            _topic_exchange(vhost, name)
            for name in (
                RPC_EXCHANGE,
                EVENTS_EXCHANGE,
                PROBES_EXCHANGE,
                *(service_exchange(service.name) for service in services),
            )
        ],
        "bindings": [
            _binding(vhost, PROBES_EXCHANGE, EVENTS_EXCHANGE, SUBSCRIBERS_KEYS),
            *(
                _binding(vhost, service_exchange(service.name), RPC_EXCHANGE, operation)
                for service in services
                for operation in service.operations
            ),
        ],
        "queues": [],
    }


def _user(name: str, password: str, tags: Sequence[str]) -> dict[str, Any]:
    salt = secrets.token_bytes(SALT_BYTES)
    digest = hashlib.sha256(salt + password.encode()).digest()
    return {
        "name": name,
        "password_hash": base64.b64encode(salt + digest).decode(),
        "hashing_algorithm": HASHING,
        "tags": list(tags),
    }


def _topic_exchange(vhost: str, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "vhost": vhost,
        "type": "topic",
        "durable": True,
        "auto_delete": False,
        "internal": False,
        "arguments": {},
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
