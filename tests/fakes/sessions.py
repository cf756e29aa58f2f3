"""Fake of the `Sessions` port, kept in memory; it passes the contract suite of the real adapter."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from shared.contracts.errors import Unavailable
from worker.domain.ports.sessions import COUNT_READS
from worker.domain.records import (
    Revocation,
    StoredSession,
    StoredUser,
    TenantRevocation,
    UserRevocation,
)


class FakeSessions:
    """Implements the port `Sessions`. `finds` holds the ids of each query, one entry per query."""

    def __init__(self) -> None:
        self.finds: list[Sequence[str]] = []
        self._stored: dict[str, StoredSession] = {}
        self._outbox: dict[str, datetime] = {}

    async def add(self, session: StoredSession) -> StoredSession:
        first = self._stored.setdefault(session.id, session)
        if (first.tenant, first.user, first.idempotency_key) != (session.tenant, session.user, session.idempotency_key):
            raise Unavailable
        return first

    async def find(self, ids: Sequence[str]) -> dict[str, StoredSession]:
        self.finds.append(ids)
        return {session_id: self._stored[session_id] for session_id in ids if session_id in self._stored}

    async def live_of_user(self, user: StoredUser, now: datetime, limit: int) -> Sequence[StoredSession]:
        live = [session for session in self._live(user.tenant, user.id, now) if session.generation == user.generation]
        return sorted(live, key=lambda session: session.issued_at, reverse=True)[:limit]

    async def live_keys(self, tenant: str, now: datetime, limit: int) -> Sequence[StoredSession]:
        live = [
            session
            for session in self._stored.values()
            if session.tenant == tenant and session.key and session.revocation is None and session.expires_at > now
        ]
        return sorted(live, key=lambda session: (session.issued_at, session.id), reverse=True)[:limit]

    async def replace_secrets(self, session: StoredSession, changed: StoredSession) -> bool:
        stored = self._stored.get(session.id)
        if stored is None or stored.revocation is not None:
            return False
        assert stored.key is not None
        assert session.key is not None
        assert changed.key is not None
        if stored.key.secrets[0].digest != session.key.secrets[0].digest:
            return False
        key = replace(stored.key, secrets=changed.key.secrets)
        self._stored[session.id] = replace(stored, key=key, expires_at=changed.expires_at)
        return True

    async def revoke(self, session: StoredSession, revocation: Revocation) -> StoredSession | None:
        stored = self._stored.get(session.id)
        if stored is None or stored.revocation is not None:
            return None
        self._stored[session.id] = stored.revoked(revocation)
        self._outbox[session.id] = revocation.at
        return self._stored[session.id]

    async def refused(self, session: StoredSession, at: datetime, retry_at: datetime | None) -> bool:
        stored = self._stored.get(session.id)
        seen = session.revocation.refusals if session.revocation else 0
        if stored is None or stored.revocation is None or session.id not in self._outbox:
            return False
        if stored.revocation.refusals != seen:
            return False
        changed = replace(stored.revocation, refusals=seen + 1)
        self._stored[session.id] = replace(stored, revocation=changed if seen else replace(changed, announced_at=at))
        if retry_at is None:
            del self._outbox[session.id]
        else:
            self._outbox[session.id] = retry_at
        return True

    async def revoke_older(self, decision: UserRevocation, now: datetime, limit: int) -> Sequence[StoredSession]:
        for session in self._live(decision.tenant, decision.user, now):
            if session.generation < decision.generation:
                await self.revoke(session, Revocation(now, decision.reason))
        waiting = [self._stored[session_id] for session_id, since in self._outbox.items() if since <= now]
        of_user = [session for session in waiting if (session.tenant, session.user) == (decision.tenant, decision.user)]
        return of_user[:limit]

    async def revoke_of_tenant(self, decision: TenantRevocation, now: datetime, limit: int) -> Sequence[StoredSession]:
        for session in list(self._stored.values()):
            live = session.revocation is None and session.expires_at > now
            if session.user:
                before, reason = decision.users_before, decision.users_reason
            elif session.key:
                before, reason = decision.keys_before, decision.keys_reason
            else:
                before, reason = decision.generation, decision.reason
            if session.tenant == decision.tenant and live and session.tenant_generation < before:
                await self.revoke(session, Revocation(now, reason))
        waiting = (self._stored[session_id] for session_id, since in self._outbox.items() if since <= now)
        of_tenant = (session for session in waiting if session.tenant == decision.tenant)
        return [session for session in of_tenant if session.user is None or decision.users_before][:limit]

    async def count_of_users(self, tenant: str, now: datetime, limit: int | None) -> int | None:
        of_users = [each for each in self._stored.values() if each.tenant == tenant and each.user]
        if limit is not None and len(of_users) >= COUNT_READS * limit:
            return None
        return len([each for each in of_users if each.revocation is None and each.expires_at > now][:limit])

    async def over_limit(self, session: StoredSession, kept: int, now: datetime, limit: int) -> Sequence[StoredSession]:
        live = self._live(session.tenant, session.user or "", now)
        of_generation = [each for each in live if each.generation == session.generation]
        newest_first = sorted(of_generation, key=lambda each: (each.issued_at, each.id), reverse=True)
        return newest_first[kept : kept + limit]

    async def limit_enforced(self, session: StoredSession) -> None:
        if session.id in self._stored:
            self._stored[session.id] = replace(self._stored[session.id], enforces_limit=False)

    async def tenants_enforcing_limit(self, older_than: datetime) -> Sequence[str]:
        return sorted({each.tenant for each in self._enforcing(older_than)})

    async def enforcing_limit(self, tenant: str, older_than: datetime, limit: int) -> Sequence[StoredSession]:
        return [each for each in self._enforcing(older_than) if each.tenant == tenant][:limit]

    async def tenants_unannounced(self, older_than: datetime) -> Sequence[str]:
        return sorted({self._stored[session_id].tenant for session_id, since in self._waiting() if since < older_than})

    async def unannounced(self, tenant: str, older_than: datetime, limit: int) -> Sequence[StoredSession]:
        due = (self._stored[session_id] for session_id, since in self._waiting() if since < older_than)
        return [session for session in due if session.tenant == tenant][:limit]

    async def unannounced_of(self, tenant: str, limit: int) -> Sequence[StoredSession]:
        sessions = [self._stored[session_id] for session_id, _ in self._waiting()]
        mine = (session for session in sessions if session.tenant == tenant)
        return [session for session in mine if session.revocation and not session.revocation.announced_at][:limit]

    async def announced_after(self, tenant: str, at: datetime, session_id: str, limit: int) -> Sequence[StoredSession]:
        announced = [
            (session.revocation.announced_at, session.id)
            for session in self._stored.values()
            if session.tenant == tenant and session.revocation and session.revocation.announced_at
        ]
        return [self._stored[id_] for when, id_ in sorted(announced) if (when, id_) > (at, session_id)][:limit]

    async def announced(self, session: StoredSession, at: datetime) -> None:
        self._outbox.pop(session.id, None)
        stored = self._stored.get(session.id)
        if stored and stored.revocation:
            self._stored[session.id] = replace(stored, revocation=replace(stored.revocation, announced_at=at))

    def _waiting(self) -> list[tuple[str, datetime]]:
        return sorted(self._outbox.items(), key=lambda each: each[1])

    def _enforcing(self, older_than: datetime) -> list[StoredSession]:
        enforcing = [each for each in self._stored.values() if each.enforces_limit and each.issued_at < older_than]
        return sorted(enforcing, key=lambda each: each.issued_at)

    def _live(self, tenant: str, user: str, now: datetime) -> list[StoredSession]:
        return [
            session
            for session in self._stored.values()
            if (session.tenant, session.user) == (tenant, user)
            and session.revocation is None
            and session.expires_at > now
        ]
