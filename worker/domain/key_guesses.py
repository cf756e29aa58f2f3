"""Throttling of wrong secrets of API keys, counted by origin in the memory of each worker.

A secret is checked before this is asked, so a right one is never delayed. A wrong one costs neither a
slow hash nor a write to the database (docs/decisions/0055).
"""

from collections import OrderedDict
from datetime import datetime, timedelta

from worker.domain.attempts import AttemptCount, Limit

#: A service that still has an old secret after a rotation tries it this often before it is delayed.
LIMIT = Limit(undelayed=20, longest_wait=timedelta(seconds=60), window=timedelta(hours=1))
#: Origins in memory, about 2 MB. Beyond that the one that was counted least recently is forgotten.
MAX_ORIGINS = 10_000


class KeyGuesses:
    """Counts wrong secrets. An origin is a client address, or without one the service that sent the request."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str | None, AttemptCount] = OrderedDict()

    def wrong(self, origin: str | None, now: datetime) -> timedelta:
        """Count a wrong secret. Return how long its origin has to wait; 0 if it may try again at once.

        During the wait nothing is counted.
        """
        seen = self._counts.get(origin)
        if wait := LIMIT.wait(seen, now):
            return wait
        first = seen is None or LIMIT.is_over(seen, now)
        since = now if seen is None or first else seen.since
        tried = 1 if seen is None or first else seen.tried + 1
        self._counts[origin] = AttemptCount(tried, 0, since, now, kept_until=since + LIMIT.window)
        self._counts.move_to_end(origin)
        if len(self._counts) > MAX_ORIGINS:
            self._counts.popitem(last=False)
        return timedelta()
