"""How sessions end, one or all of a user or of a tenant, each with its event, and once for each request.

One session: one update of its document. All of them: the decision first (`decide_ending`), then the sessions,
then the decision is forgotten. Those beyond a limit: the session that displaces them says so from its beginning until
they have ended. The sweep of `worker.sweeper` carries out what a crash left decided.
"""

from collections.abc import Sequence
from dataclasses import replace

from shared.contracts.events import RevocationReason
from worker.domain.ports import Ports
from worker.domain.records import Ending, Mark, Revocation, Session, TenantEnding, UserChanges

#: Announced at once when all sessions of a user end; what is beyond waits for the sweep, not in memory.
MAX_ANNOUNCED = 500
#: Ended by one login. More there are only when the limit is new or was lowered; the sweep goes on with them.
MAX_DISPLACED = 50


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


async def carry_out_of_tenant(ending: TenantEnding, ports: Ports) -> None:
    """Ends what was decided to end of a tenant. Safe to repeat, and to do twice at a time."""
    for session in await ports.sessions.revoke_of_tenant(ending, ports.clock.now(), MAX_ANNOUNCED):
        ports.events.announce(session)
    if ending.reason is RevocationReason.TENANT_DELETED:
        await ports.users.remove_all(ending.tenant)
    await ports.tenants.finish_ending(ending)


async def end_displaced(session: Session, ports: Ports) -> None:
    """Ends the user's oldest sessions, if it has more than are allowed. Safe to repeat, and to do many at a time.

    Each login looks after it has stored its session, so the last of them to be stored counts all; and the newest, as
    many as are allowed, are never ended by anybody. Of more logins at once than are allowed, some get a token that is
    dead already.
    """
    if not session.displaces:
        return
    displaced: Sequence[Session] = ()
    if ports.max_sessions_per_user:  # there was a limit when it was opened; there need not be one now
        now = ports.clock.now()
        displaced = await ports.sessions.surplus(session, ports.max_sessions_per_user, now, MAX_DISPLACED)
        for each in displaced:
            if ended := await ports.sessions.revoke(each, Revocation(now, RevocationReason.SESSION_LIMIT)):
                ports.events.announce(ended)
    if len(displaced) < MAX_DISPLACED:
        await ports.sessions.settled(session)
