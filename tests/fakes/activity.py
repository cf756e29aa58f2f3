"""Fake of the `Activity` port, kept in memory."""

from datetime import datetime


class FakeActivity:
    """Implements the port `Activity`."""

    def __init__(self) -> None:
        self.last_seen: dict[str, datetime] = {}

    def seen(self, user: str, at: datetime) -> None:
        self.last_seen[user] = at
