"""The deadline of the request that the current task handles."""

from contextvars import ContextVar
from dataclasses import dataclass

#: Time before the deadline that is kept for the error reply: it covers the rest of the operation and
#: the way back to the caller.
RESERVE_SECONDS = 0.5
#: The reserve of a request with a short timeout is a share of that timeout, so that it can be served
#: at all.
RESERVE_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Deadline:
    """When the caller stops waiting, and how long before that the worker stops waiting for the database."""

    at: float
    """In event-loop time."""
    reserve_seconds: float

    @classmethod
    def of_request(cls, at: float, timeout_seconds: float) -> "Deadline":
        """Return the deadline of a request whose caller waits for `timeout_seconds` in all."""
        return cls(at, min(RESERVE_SECONDS, max(timeout_seconds, 0.0) * RESERVE_SHARE))

    def left_seconds(self, now: float) -> float:
        """Return the time until the caller stops waiting, negative after that."""
        return self.at - now

    def is_close(self, now: float) -> bool:
        """Return whether only the reserve is left, so that a request which begins now is probably answered too late."""
        return self.left_seconds(now) < self.reserve_seconds

    def call_seconds(self, now: float) -> float | None:
        """Return the time for one call to the database: what is left without the reserve, at least half of it.

        Half: an operation that fails may need another call to clean up, and each call leaves time
        for the next. None after the deadline: nobody waits, and an operation that came so far is
        finished.
        """
        left = self.left_seconds(now)
        return max(left - self.reserve_seconds, left / 2) if left > 0 else None


request_deadline: ContextVar[Deadline | None] = ContextVar("request_deadline", default=None)
"""None: the task handles no request, or one without a deadline."""
