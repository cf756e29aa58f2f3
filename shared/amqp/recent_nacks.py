"""Remembers nacks of the broker: to refuse calls to a full queue locally, and to detect a stuck
channel.

A broker that loses a node nacks requests until the node's queues have new leaders, in less than a
second. RabbitMQ 3.10 may continue to nack on a channel first used during that time, until the node
returns or forever. It accepts the same requests on any other channel (docs/decisions/0020).
"""

import time
from collections.abc import Callable

#: Time to refuse calls locally after a nack. A queue that was just full has room for one or two
#: requests at most. Local refusals leave the CPU to the calls in the queue, and other waiting calls
#: fill free places.
REFUSE_LOCALLY_SECONDS = 0.05
#: Time of only nacks after which the channel counts as stuck. A new leader takes less than a
#: second. A client of a full queue tries twenty times a second (see above). It finds room within
#: this time, even if other clients take four of five free places.
STUCK_SECONDS = 2.0


class RecentNacks:
    """The nacks on one channel, by operation, since operations of other queues may be accepted."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}
        self._since: dict[str, float] = {}

    def record_nack(self, operation: str) -> None:
        """Record that the broker nacked a request of this operation now."""
        now = self._clock()
        self._until[operation] = now + REFUSE_LOCALLY_SECONDS
        self._since.setdefault(operation, now)

    def record_ack(self, operation: str) -> None:
        """Record that the broker accepted a request of this operation now."""
        if self._since:
            self._since.pop(operation, None)

    def is_stuck(self, operation: str) -> bool:
        """Return whether all requests were nacked for so long that the client should use a new
        channel."""
        now = self._clock()
        return now - self._since.get(operation, now) > STUCK_SECONDS

    def clear(self) -> None:
        """Forget all nacks, because the channel is closed."""
        self._until.clear()
        self._since.clear()

    def is_recent(self, operation: str) -> bool:
        """Return whether the operation was nacked within `REFUSE_LOCALLY_SECONDS`."""
        until = self._until.get(operation)
        return until is not None and self._clock() < until
