"""A fake of the port for events: in memory, held to the contract suite of the real one."""

from shared.contracts.events import RevocationReason
from worker.domain.records import (
    Session,
)


class FakeEvents:
    """Implements the port `Events`. Events stay in the outbox, as they do while the broker is away."""

    def __init__(self) -> None:
        self.announced: list[Session] = []

    def announce(self, session: Session) -> None:
        self.announced.append(session)

    @property
    def reasons(self) -> dict[str, RevocationReason]:
        """Why the sessions announced so far ended, by their ids."""
        return {session.id: session.revocation.reason for session in self.announced if session.revocation}
