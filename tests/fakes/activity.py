"""Fake of the `Activity` port, kept in memory."""

from datetime import datetime

from worker.domain.records import StoredSession


class FakeActivity:
    """Implements the port `Activity`."""

    def __init__(self) -> None:
        self.last_seen: dict[str, datetime] = {}
        self.last_used: dict[str, datetime] = {}

    def seen(self, session: StoredSession, at: datetime) -> None:
        assert session.user is not None
        self.last_seen[session.user] = at

    def used(self, key: str, at: datetime) -> None:
        self.last_used[key] = at.replace(second=0, microsecond=0)
