"""Accepts as events only messages that a worker published, and rejects forged ones.

A client can forge messages in a subscriber's queue: RabbitMQ does not check relays through the
client's own exchange, dead letters, or routes by the headers `CC` and `BCC`. But a delivery names
the exchange that its message was published to and its first routing key. Only workers may publish
to `events`. So a message is an event if it was published there under the routing key that its
content names (docs/decisions/0027).
"""

import logging
import time

from aio_pika.abc import AbstractIncomingMessage

from ..contracts.events import SessionRevokedEvent, revocations_key
from .topology import EVENTS_EXCHANGE

log = logging.getLogger(__name__)

#: Minimum time between two log lines about ignored messages, so that their sender cannot fill the
#: log.
LOG_PAUSE_SECONDS = 60.0
#: The tenant of a subscription to the events of all tenants.
ALL_TENANTS = "*"


class NotAnnounced(Exception):
    """No worker published the message as an event of this subscription."""


def read_event(message: AbstractIncomingMessage, tenant: str) -> SessionRevokedEvent:
    """Return the event in a message to a subscriber of this tenant, or of `ALL_TENANTS`.

    Raises `NotAnnounced` for a message that is not an event of this subscription. Raises
    `ValidationError` for an event that cannot be parsed: any session may have been revoked.
    """
    prefix = revocations_key("")
    key = message.routing_key or ""
    if message.exchange != EVENTS_EXCHANGE or not key.startswith(prefix):
        raise NotAnnounced
    if tenant not in {ALL_TENANTS, key.removeprefix(prefix)}:
        raise NotAnnounced
    event = SessionRevokedEvent.model_validate_json(message.body)
    if event.data.routing_key != key:
        raise NotAnnounced
    return event


class IgnoredMessages:
    """Counts the messages of one queue that are not events, and logs the count at most once a
    minute."""

    def __init__(self) -> None:
        self._count = 0
        self._logged_at = float("-inf")

    def add(self, message: AbstractIncomingMessage) -> None:
        """Count a message. The log holds its exchange, which may identify the sender, but not its
        content."""
        self._count += 1
        now = time.monotonic()
        if now - self._logged_at >= LOG_PAUSE_SECONDS:
            log.warning(
                "messages ignored: no worker published them as events",
                extra={"messages": self._count, "last_exchange": message.exchange},
            )
            self._count, self._logged_at = 0, now
