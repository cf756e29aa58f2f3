"""What the broker has refused: a moment ago, since there was no room for more of it, or for too long to be true.

A broker that has lost a node refuses what is for its queues until they have other leaders, which takes less than a
second. RabbitMQ 3.10 may go on with that, on a channel that was used for the first time in between: for ever, or until
the node is back, while it takes the same from any other channel.
"""

import time
from collections.abc import Callable

#: A queue that was full a moment ago still is, or has room for one or two. Who is refused without asking the broker
#: leaves the cores to those who are served; and with more waiting than can be served, no place stays empty.
REFUSE_LOCALLY_SECONDS = 0.05
#: More than it takes to have another leader, which is less than a second. A queue may also be full: a client that tries
#: twenty times a second (see above) then finds room before this, even if others take four of five free places.
STUCK_SECONDS = 2.0


class RecentNacks:
    """On one channel, by operation: those of another queue may have room."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}
        self._since: dict[str, float] = {}

    def record_nack(self, operation: str) -> None:
        """It was refused now."""
        now = self._clock()
        self._until[operation] = now + REFUSE_LOCALLY_SECONDS
        self._since.setdefault(operation, now)

    def record_ack(self, operation: str) -> None:
        """It was not refused now."""
        if self._since:
            self._since.pop(operation, None)

    def is_stuck(self, operation: str) -> bool:
        """Whether it has only been refused for so long that another channel should be tried."""
        now = self._clock()
        return now - self._since.get(operation, now) > STUCK_SECONDS

    def clear(self) -> None:
        """That channel is gone."""
        self._until.clear()
        self._since.clear()

    def is_recent(self, operation: str) -> bool:
        """Whether it was refused a moment ago."""
        until = self._until.get(operation)
        return until is not None and self._clock() < until
