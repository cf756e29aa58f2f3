"""The clock of this machine."""

import time
from datetime import UTC, datetime


class SystemClock:
    """Implements the port `Clock` with millisecond precision, which is the precision of the database."""

    def now(self) -> datetime:
        return datetime.fromtimestamp(time.time_ns() // 1_000_000 / 1000, UTC)
