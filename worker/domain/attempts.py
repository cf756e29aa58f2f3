"""The throttling rules: how attempts are counted, and how long the next attempt has to wait."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

#: A person who mistypes a password hardly notices the first delay. Each further delay is twice as
#: long.
FIRST_WAIT = timedelta(seconds=1)
#: Bounds the exponent: more doublings than any configured delay needs, without overflowing a
#: timedelta.
MAX_DOUBLINGS = 20
#: Retention per consecutive wrong password. An attacker who waits for the count to expire gets
#: three attempts a day, no more than with 99 attempts per expiry. Counts of made-up logins expire
#: soon.
CONSECUTIVE_KEPT_EACH = timedelta(hours=8)
CONSECUTIVE_KEPT_MAX = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class AttemptCount:
    """The attempts counted under one key: wrong ones, and those whose outcome is not known yet."""

    tried: int
    """Attempts in the current window."""
    in_flight: int
    """Attempts whose outcome is not known yet."""
    since: datetime
    """The start of the window: the time of its first attempt."""
    last_at: datetime
    kept_until: datetime
    consecutive: int = 0
    """Attempts since the last right password counted here, across windows. A right password from an origin where the
    account has logged in before is counted there, and does not reset this."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit on attempts: `undelayed` attempts per window are not delayed, and each further delay is twice as long.

    A window starts with its first attempt.
    """

    undelayed: int
    longest_wait: timedelta
    window: timedelta
    max_consecutive: int | None = None
    """After this many consecutive wrong attempts the key is locked. None: it is never locked."""

    def wait(self, count: AttemptCount | None, now: datetime) -> timedelta:
        """Return how long the next attempt has to wait from now.

        A locked key gets the longest wait, so that a caller cannot tell a lock from a delay.
        """
        if self.is_locked(count, now):
            return self.longest_wait
        if count is None or self.is_over(count, now) or count.tried < self.undelayed:
            return timedelta()
        doublings = min(count.tried - self.undelayed, MAX_DOUBLINGS)
        wait = min(FIRST_WAIT * (1 << doublings), self.longest_wait)
        # Never longer than `wait`, even if the clock of the worker that counted last is ahead of
        # this one.
        return max(min(wait, count.last_at + wait - now, count.since + self.window - now), timedelta())

    def is_locked(self, count: AttemptCount | None, now: datetime) -> bool:
        """Return whether no further attempt is allowed."""
        if count is None or self.max_consecutive is None or count.kept_until <= now:
            return False
        return count.consecutive >= self.max_consecutive

    def kept_until(self, consecutive: int, now: datetime) -> datetime:
        """Return when a count with this many consecutive attempts expires, if the last attempt is made now."""
        if self.max_consecutive is None:
            return now + self.window
        return now + max(min(consecutive * CONSECUTIVE_KEPT_EACH, CONSECUTIVE_KEPT_MAX), self.window)

    def is_over(self, count: AttemptCount, now: datetime) -> bool:
        """Return whether the window of this count has ended."""
        return count.since + self.window <= now


@dataclass(frozen=True, slots=True)
class Throttle:
    """The limits that apply to logins and to the registration key. None: no limit."""

    account: Limit | None
    """For one account, counted over all origins from which it has not logged in before."""
    address: Limit | None
    """For one client, counted over all accounts of a tenant."""
    known_for: timedelta
    """How long a successful login makes its origin a known origin of the account."""
    registration_key: Limit
    """For wrong registration keys from one client or service. This limit cannot be switched off."""

    @property
    def known_origin(self) -> Limit | None:
        """The limit for one account from one of its known origins: the account's limit without the lock."""
        return None if self.account is None else replace(self.account, max_consecutive=None)
