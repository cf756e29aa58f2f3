"""How sessions end, one or all of a user, each with its event.

One session: one update of its document. All of them: the decision first (`Users.decide_ending`), then the sessions,
then the decision is forgotten; the sweep of `worker.sweeper` carries out what a crash left decided.
"""

from shared.contracts.events import RevocationReason
from worker.ports import Ending, Ports, Revocation, Session, User, UserChanges

#: Announced at once when all sessions of a user end; what is beyond waits for the sweep, not in memory.
MAX_ANNOUNCED = 500


async def end_session(session: Session, reason: RevocationReason, ports: Ports) -> bool:
    """Ends one session. False when somebody else had ended it before; then they announce it."""
    ended = await ports.sessions.revoke(session, Revocation(ports.clock.now(), reason))
    if ended is None:
        return False
    ports.events.announce(ended)
    return True


async def end_all_sessions(
    user: User, reason: RevocationReason, ports: Ports, changes: UserChanges | None = None
) -> None:
    """Decides that all sessions of a user end, together with what causes it, and ends them.

    Raises `UserNotFound` when the user was deleted meanwhile.
    """
    await carry_out(await ports.users.decide_ending(user, reason, ports.clock.now(), changes), ports)


async def carry_out(ending: Ending, ports: Ports) -> None:
    """Ends what was decided to end. Safe to repeat, and to do twice at a time."""
    for session in await ports.sessions.revoke_older(ending, ports.clock.now(), MAX_ANNOUNCED):
        ports.events.announce(session)
    await ports.users.finish_ending(ending)
