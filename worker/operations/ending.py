"""How sessions end, one or all of a user, each with its event, and once for each request.

One session: one update of its document. All of them: the decision first (`Users.decide_ending`), then the sessions,
then the decision is forgotten; the sweep of `worker.sweeper` carries out what a crash left decided.
"""

from dataclasses import replace

from shared.contracts.events import RevocationReason
from worker.ports import Ending, Mark, Ports, Revocation, Session, UserChanges

#: Announced at once when all sessions of a user end; what is beyond waits for the sweep, not in memory.
MAX_ANNOUNCED = 500


async def end_session(session: Session, reason: RevocationReason, mark: Mark, ports: Ports) -> bool:
    """Ends one session. False when somebody else had ended it before; then they announce it."""
    ended = await ports.sessions.revoke(session, Revocation(mark.at, reason, by=mark.by))
    if ended is not None:
        ports.events.announce(ended)
        return True
    found = await ports.sessions.find([session.id])
    return session.id in found and is_ended_by(mark, found[session.id])


def is_ended_by(mark: Mark, session: Session) -> bool:
    """Whether this very request has ended the session. The outbox sees to its event."""
    return session.revocation is not None and session.revocation.by == mark.by


def before(mark: Mark, sessions: dict[str, Session]) -> dict[str, Session]:
    """The sessions of some tokens as they were before this request ended one of them, if it has come before."""
    return {
        token: replace(session, revocation=None) if is_ended_by(mark, session) else session
        for token, session in sessions.items()
    }


async def end_all_sessions(
    tenant: str, login: str, reason: RevocationReason, mark: Mark, ports: Ports, *, changes: UserChanges | None = None
) -> Ending:
    """Decides that all sessions of a user end, together with what causes it, and ends them.

    A request that has decided before carries out that decision, and ends nothing that began since. Raises
    `UserNotFound`.
    """
    ending = await ports.users.decide_ending(tenant, login, reason, mark, changes)
    await carry_out(ending, ports)
    return ending


async def carry_out(ending: Ending, ports: Ports) -> None:
    """Ends what was decided to end. Safe to repeat, and to do twice at a time."""
    for session in await ports.sessions.revoke_older(ending, ports.clock.now(), MAX_ANNOUNCED):
        ports.events.announce(session)
    await ports.users.finish_ending(ending)
