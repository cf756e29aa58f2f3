"""How guessing is slowed down: attempts that are counted, and how long the next one has to wait."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

#: The first wait is hardly noticed by a person who mistyped; each further one is twice as long.
FIRST_WAIT = timedelta(seconds=1)
#: Longer than anybody may be made to wait, and still a time.
MAX_DOUBLINGS = 20
#: So long is each wrong password of a row remembered after the last one. Who waits for that makes three guesses a day,
#: no more than somebody who makes 99 and waits for them to be forgotten; and of a login that somebody tries once, as of
#: many made-up ones, the database soon forgets.
ROW_KEPT_FOR_EACH = timedelta(hours=8)
ROW_KEPT_AT_MOST = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Count:
    """Attempts to log in that were not right, those among them whose outcome is not known yet, and when they were."""

    tried: int
    under_way: int
    since: datetime
    last_at: datetime
    kept_until: datetime
    in_a_row: int = 0
    """Attempts since the last right one that was counted here, over any number of windows. One from where the account
    has logged in before is counted there, and does not end the row."""


@dataclass(frozen=True, slots=True)
class Limit:
    """So many attempts are free within a window that begins with the first; each further one has to wait longer."""

    free: int
    longest_wait: timedelta
    window: timedelta
    most_in_a_row: int | None = None
    """After so many there is no further one. None: there always is."""

    def wait(self, count: Count | None, now: datetime) -> timedelta:
        """From now until the next attempt, by all that the caller is told: of a lock it is told nothing else."""
        if self.is_locked(count, now):
            return self.longest_wait
        if count is None or self.is_over(count, now) or count.tried < self.free:
            return timedelta()
        doublings = min(count.tried - self.free, MAX_DOUBLINGS)
        wait = min(FIRST_WAIT * (1 << doublings), self.longest_wait)
        # Not more than that, whatever the clock of the worker said that counted last.
        return max(min(wait, count.last_at + wait - now, count.since + self.window - now), timedelta())

    def is_locked(self, count: Count | None, now: datetime) -> bool:
        """Whether there is no further attempt."""
        if count is None or self.most_in_a_row is None or count.kept_until <= now:
            return False
        return count.in_a_row >= self.most_in_a_row

    def kept_until(self, in_a_row: int, now: datetime) -> datetime:
        """When a count of so many in a row is forgotten, the last of them now."""
        if self.most_in_a_row is None:
            return now + self.window
        return now + max(min(in_a_row * ROW_KEPT_FOR_EACH, ROW_KEPT_AT_MOST), self.window)

    def is_over(self, count: Count, now: datetime) -> bool:
        """Whether all these attempts are too long ago."""
        return count.since + self.window <= now


@dataclass(frozen=True, slots=True)
class Throttle:
    """How guessing is slowed down; None: not at all."""

    account: Limit | None
    """Of strangers to an account."""
    address: Limit | None
    known_for: timedelta
    """From where an account has logged in is remembered for so long."""
    registration_key: Limit
    """Of wrong registration keys from one client or service. It cannot be switched off."""

    @property
    def place(self) -> Limit | None:
        """Of one account from where it has logged in: as of strangers, but that there is no end to it."""
        return None if self.account is None else replace(self.account, most_in_a_row=None)
