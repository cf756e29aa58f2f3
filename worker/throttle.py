"""How guessing is slowed down: attempts that are counted, and how long the next one has to wait."""

from dataclasses import dataclass
from datetime import datetime, timedelta

#: The first wait is hardly noticed by a person who mistyped; each further one is twice as long.
FIRST_WAIT = timedelta(seconds=1)
#: Longer than anybody may be made to wait, and still a time.
MAX_DOUBLINGS = 20


@dataclass(frozen=True, slots=True)
class Count:
    """Attempts to log in that were not right, those among them whose outcome is not known yet, and when they were."""

    tried: int
    under_way: int
    since: datetime
    last_at: datetime
    kept_until: datetime


@dataclass(frozen=True, slots=True)
class Limit:
    """So many attempts are free within a window that begins with the first; each further one has to wait longer."""

    free: int
    longest_wait: timedelta
    window: timedelta

    def wait(self, count: Count | None, now: datetime) -> timedelta:
        """From now until the next attempt."""
        if count is None or self.is_over(count, now) or count.tried < self.free:
            return timedelta()
        doublings = min(count.tried - self.free, MAX_DOUBLINGS)
        wait = min(FIRST_WAIT * (1 << doublings), self.longest_wait)
        # Not more than that, whatever the clock of the worker said that counted last.
        return max(min(wait, count.last_at + wait - now, count.since + self.window - now), timedelta())

    def is_over(self, count: Count, now: datetime) -> bool:
        """Whether all these attempts are too long ago."""
        return count.since + self.window <= now


@dataclass(frozen=True, slots=True)
class Throttle:
    """How guessing is slowed down; None: not at all."""

    account: Limit | None
    address: Limit | None
    known_for: timedelta
    """From where an account has logged in is remembered for so long."""
    registration_key: Limit
    """Of wrong registration keys from one client or service. It cannot be switched off."""
