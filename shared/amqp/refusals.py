"""What the broker has refused a moment ago, because there was no room for more of it."""

import time
from collections.abc import Callable

#: A queue that was full a moment ago still is, or has room for one or two. Who is refused without asking the broker
#: leaves the cores to those who are served; and with more waiting than can be served, no place stays empty.
REMEMBERED_SECONDS = 0.05


class Refusals:
    """By operation: those of another queue may have room."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def remember(self, operation: str) -> None:
        """It was refused now."""
        self._until[operation] = self._clock() + REMEMBERED_SECONDS

    def recent(self, operation: str) -> bool:
        """Whether it was refused a moment ago."""
        until = self._until.get(operation)
        return until is not None and self._clock() < until
