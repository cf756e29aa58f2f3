"""Revoking sessions: one, all of a user, or all of a tenant. Each revocation publishes an event.

- One session is revoked by one update of its document.
- All sessions of a user or tenant: the decision is stored first (`decide_revocation`), then the
  sessions are revoked, then the decision is removed.
- Sessions beyond the session limit: the newest session is marked as `enforces_limit` from its
  creation until the older ones are revoked.

After a crash, the sweep of `worker.sweeper` carries out what was decided.
"""

from collections.abc import Sequence
from dataclasses import replace

from shared.contracts.events import RevocationReason
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.records import (
    IdempotencyKey,
    Revocation,
    StoredSession,
    TenantRevocation,
    UserChanges,
    UserRevocation,
)

#: Events published at once when all sessions of a user or tenant are revoked. The sweep publishes
#: the others, so that they wait in the database and not in memory.
MAX_ANNOUNCED = 500
#: Sessions revoked by one login because of the session limit. There are more only if the limit is
#: new or was lowered; the sweep revokes the others.
MAX_OVER_LIMIT = 50


async def revoke_on_request(
    session: StoredSession, reason: RevocationReason, key: IdempotencyKey, call: Call, ports: Ports
) -> bool:
    """Revoke one session. Return False if another request revoked it before; that request announces it.

    Either way the revocation is durable on return, also one that was read before. Such a read
    alone proves nothing: an election may take back what it saw.
    """
    if not await revoke_and_announce(session, Revocation(key.at, reason, idempotency_key=key.value), ports):
        found = await ports.sessions.find([session.id])
        if session.id not in found or not is_revoked_by(key, found[session.id]):
            return False
    facts = call.audit_facts
    facts.tenant, facts.login, facts.session, facts.reason = session.tenant, session.login, session.id, reason
    return True


async def revoke_and_announce(session: StoredSession, revocation: Revocation, ports: Ports) -> bool:
    """Revoke one session and publish its event. Return False if it was revoked before."""
    revoked = await ports.sessions.revoke(session, revocation)
    if revoked is None:
        return False
    ports.events.announce(revoked)
    return True


def is_revoked_by(key: IdempotencyKey, session: StoredSession) -> bool:
    """Return whether an earlier delivery of this request revoked the session. The outbox then holds its event."""
    return session.revocation is not None and session.revocation.idempotency_key == key.value


def before_revocation(sessions: dict[str, StoredSession]) -> dict[str, StoredSession]:
    """Return the sessions, by token, without their revocations, for requests that revoke: see `revoke_on_request`."""
    return {token: replace(session, revocation=None) for token, session in sessions.items()}


async def revoke_all_sessions(
    tenant: str,
    login: str,
    reason: RevocationReason,
    call: Call,
    ports: Ports,
    *,
    key: IdempotencyKey,
    changes: UserChanges | None = None,
) -> UserRevocation:
    """Decide to revoke all sessions of a user, together with the cause, and revoke them.

    A retried request carries out its first decision, and revokes no session created since. Raises
    `UserNotFound`.
    """
    call.audit_facts.reason = reason
    decision = await ports.users.decide_revocation(tenant, login, reason, key, changes)
    await revoke_user_sessions(decision, ports)
    return decision


async def revoke_user_sessions(decision: UserRevocation, ports: Ports) -> None:
    """Carry out a decision about a user. Safe to repeat and to run concurrently."""
    for session in await ports.sessions.revoke_older(decision, ports.clock.now(), MAX_ANNOUNCED):
        ports.events.announce(session)
    await ports.users.finish_revocation(decision)


async def revoke_tenant_sessions(decision: TenantRevocation, ports: Ports) -> None:
    """Carry out a decision about a tenant. Safe to repeat and to run concurrently."""
    for session in await ports.sessions.revoke_of_tenant(decision, ports.clock.now(), MAX_ANNOUNCED):
        ports.events.announce(session)
    if decision.reason is RevocationReason.TENANT_DELETED:
        await ports.users.remove_all(decision.tenant)
    await ports.tenants.finish_revocation(decision)


async def enforce_session_limit(session: StoredSession, ports: Ports) -> None:
    """Revoke the user's oldest sessions beyond the session limit. Safe to repeat and to run concurrently.

    Each login calls this after it has stored its session, so the login that stores last sees all of
    them. The newest sessions up to the limit are never revoked here. If more logins than the limit
    run at once, some of them return a token that is already revoked.
    """
    if not session.enforces_limit:
        return
    over_limit: Sequence[StoredSession] = ()
    if ports.max_sessions_per_user:  # a limit was set when the session was created; it may have been removed since
        now = ports.clock.now()
        over_limit = await ports.sessions.over_limit(session, ports.max_sessions_per_user, now, MAX_OVER_LIMIT)
        for each in over_limit:
            await revoke_and_announce(each, Revocation(now, RevocationReason.SESSION_LIMIT), ports)
    if len(over_limit) < MAX_OVER_LIMIT:
        await ports.sessions.limit_enforced(session)
