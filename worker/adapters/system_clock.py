"""The time of this machine."""

from datetime import UTC, datetime


class SystemClock:
    """Implements `worker.ports.Clock`, in milliseconds: what the database keeps of a time."""

    def now(self) -> datetime:
        now = datetime.now(UTC)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)
