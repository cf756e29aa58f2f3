"""Fake of the `Events` port, kept in memory; it passes the contract suite of the real adapter."""

from shared.contracts.events import RevocationReason
from worker.domain.records import (
    StoredSession,
)


class FakeEvents:
    """Implements the port `Events`. Events stay in the outbox, as if the broker were unreachable."""

    def __init__(self) -> None:
        self.announced: list[StoredSession] = []
        self.connected = True

    def announce(self, session: StoredSession) -> None:
        self.announced.append(session)

    @property
    def reasons(self) -> dict[str, RevocationReason]:
        """Return the revocation reason of each announced session, by session id."""
        return {session.id: session.revocation.reason for session in self.announced if session.revocation}
