"""A clock that stands still until a test moves it."""

from datetime import datetime, timedelta

from tests.fakes.values import NOW


class FakeClock:
    """Implements the port `Clock`. Time moves only by `advance`."""

    def __init__(self, now: datetime = NOW) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def advance(self, by: timedelta) -> None:
        self._now += by
