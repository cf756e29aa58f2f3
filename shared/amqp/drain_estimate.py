"""Estimates how long a full queue takes to drain: the retry time of an `overloaded` reply.

A client cannot see the length of a queue, but it can time its own calls through it. The estimate is
the duration of the last answered call. If this client has twice as many calls in flight now as when
that call started, the estimate doubles.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

#: An older measurement is not used: the number of workers or the load may have changed.
MAX_MEASUREMENT_AGE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class _Measurement:
    answered: float
    seconds: float
    calls: int
    """Calls in flight when the measured call started, including itself."""


class DrainEstimate:
    """The estimate for one queue, from this client's calls. Waiting calls of other clients lengthen
    them too.

    The estimate has no jitter. Callers that are refused at different times retry at different
    times. Jitter in whole seconds would only split a group of simultaneous callers in two. Each
    caller should add its own fraction of a second.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._calls = 0
        self._latest: _Measurement | None = None

    @contextlib.contextmanager
    def measure(self) -> Iterator[None]:
        """Measure the call in this block, which the queue has accepted. A call that raises is not
        measured."""
        self._calls += 1
        calls, since = self._calls, self._clock()
        try:
            yield
            now = self._clock()
            self._latest = _Measurement(now, now - since, calls)
        finally:
            self._calls -= 1

    def retry_after_seconds(self, timeout_seconds: float) -> int:
        """Return the estimate in whole seconds, at least 1; 1 without a recent measurement.

        The estimate is at most `timeout_seconds`, rounded up: workers discard requests past their
        deadline, which takes no time.
        """
        latest = self._latest
        if latest is None or self._clock() - latest.answered > MAX_MEASUREMENT_AGE_SECONDS:
            return 1
        # A drop in our own calls does not mean a shorter queue: it is full with calls of other
        # clients.
        seconds = latest.seconds * max(self._calls / latest.calls, 1)
        return max(math.ceil(min(seconds, timeout_seconds)), 1)
