"""Fake of the `Activity` port, kept in memory."""

from datetime import datetime

from worker.domain.records import StoredSession


class FakeActivity:
    """Implements the port `Activity`."""

    def __init__(self) -> None:
        self.last_seen: dict[str, datetime] = {}

    def seen(self, session: StoredSession, at: datetime) -> None:
        assert session.user is not None
        self.last_seen[session.user] = at
