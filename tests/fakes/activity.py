"""Fake of the `Activity` port, kept in memory."""

from datetime import datetime


class FakeActivity:
    """Implements the port `Activity`."""

    def __init__(self) -> None:
        self.last_seen: dict[str, datetime] = {}
        self.last_used: dict[str, datetime] = {}

    def seen(self, user: str, at: datetime) -> None:
        self.last_seen[user] = at

    def used(self, key: str, at: datetime) -> None:
        self.last_used[key] = at.replace(second=0, microsecond=0)
