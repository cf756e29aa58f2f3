"""Which messages in a subscriber's queue are events: those that a worker announced, and nothing else.

RabbitMQ does not see what a client relays through an exchange of its own, dead-letters, or routes under the second keys
of the headers `CC` and `BCC`. But a delivery names the exchange that its message was published to, and its first
routing key. Only workers may publish to `events`, so an event is what was published there under the key that its
content names (docs/decisions/0027).
"""

import logging
import time

from aio_pika.abc import AbstractIncomingMessage

from ..contracts.events import SessionRevokedEvent, revocations_key
from .topology import EVENTS_EXCHANGE

log = logging.getLogger(__name__)

#: Between two log lines about ignored messages, so that whoever sends them does not fill the log.
LOG_PAUSE_SECONDS = 60.0
ALL_TENANTS = "*"


class NotAnnounced(Exception):
    """The message was not published by a worker as an event of this subscription."""


def read_event(message: AbstractIncomingMessage, tenant: str) -> SessionRevokedEvent:
    """Return the event that the message announces to a subscriber of this tenant, or of `ALL_TENANTS`.

    Raises `NotAnnounced` for a message that no worker announced, and `ValidationError` for an announced event that
    cannot be read: its session is unknown, so it may be anyone's.
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
    """Counts the messages of one queue that announce nothing, and logs them at most once a minute."""

    def __init__(self) -> None:
        self._count = 0
        self._logged_at = float("-inf")

    def add(self, message: AbstractIncomingMessage) -> None:
        """Count a message. Its content is in no log; the exchange that it came by may tell who sent it."""
        self._count += 1
        now = time.monotonic()
        if now - self._logged_at >= LOG_PAUSE_SECONDS:
            log.warning(
                "messages are ignored: no worker announced them",
                extra={"messages": self._count, "last_exchange": message.exchange},
            )
            self._count, self._logged_at = 0, now
