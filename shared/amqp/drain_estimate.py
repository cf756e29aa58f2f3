"""How long a full queue takes to be worked off: what a caller who finds no room in it is told about coming back.

Callers cannot look into a queue, but their own calls go through it. One that was answered a moment ago tells how long
the way was; and if twice as many of this client's are on that way now as were then, it has become twice as long.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

#: What a way took longer ago than this says nothing about now: there may be other workers, or another load.
MAX_MEASUREMENT_AGE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class _Measurement:
    answered: float
    seconds: float
    calls: int
    """That were on it when this one set out, with itself."""


class DrainEstimate:
    """Of one queue, as far as this client's calls tell; those of others wait in it, too, and are part of the way.

    No jitter is added to what it says. Who was refused at different moments is told different moments; and whole
    seconds would make two crowds of one that comes back together, where a fraction of each caller's own disperses it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._calls = 0
        self._latest: _Measurement | None = None

    @contextlib.contextmanager
    def measure(self) -> Iterator[None]:
        """Around a call that the queue has taken. One that raises was not answered, and tells nothing."""
        self._calls += 1
        calls, since = self._calls, self._clock()
        try:
            yield
            now = self._clock()
            self._latest = _Measurement(now, now - since, calls)
        finally:
            self._calls -= 1

    def retry_after_seconds(self, timeout_seconds: float) -> int:
        """In how many whole seconds what fills the queue now is worked off; one where nothing was answered of late.

        Never longer than calls wait, for what nobody waits for any more is thrown away, and that takes no time.
        """
        way = self._latest
        if way is None or self._clock() - way.answered > MAX_MEASUREMENT_AGE_SECONDS:
            return 1
        # Fewer than then are no sign of a shorter way: it is full, so others are on it.
        seconds = way.seconds * max(self._calls / way.calls, 1)
        return max(math.ceil(min(seconds, timeout_seconds)), 1)
