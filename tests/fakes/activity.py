"""A fake of the port for activity: in memory, held to the contract suite of the real one."""

from datetime import datetime


class FakeActivity:
    """Implements the port `Activity`."""

    def __init__(self) -> None:
        self.last_seen: dict[str, datetime] = {}

    def seen(self, user: str, at: datetime) -> None:
        self.last_seen[user] = at
