"""The time of this machine."""

import time
from datetime import UTC, datetime


class SystemClock:
    """Implements the port `Clock`, in milliseconds: what the database keeps of a time."""

    def now(self) -> datetime:
        return datetime.fromtimestamp(time.time_ns() // 1_000_000 / 1000, UTC)
