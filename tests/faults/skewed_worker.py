"""A worker whose clock is ahead: `python -m tests.faults.skewed_worker SECONDS --lanes …`."""

import sys
from datetime import datetime, timedelta

from worker.adapters.system_clock import SystemClock
from worker.main import main


class SkewedClock(SystemClock):
    """The time of this machine plus an offset."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return super().now() + self._ahead


if __name__ == "__main__":
    main(SkewedClock(timedelta(seconds=float(sys.argv.pop(1)))))
