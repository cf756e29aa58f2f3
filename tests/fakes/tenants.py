"""Fake of the `Tenants` port, kept in memory; it passes the contract suite of the real adapter."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from shared.contracts import names
from shared.contracts.errors import EmailTaken, InvalidCredentials, TenantNotFound, Unavailable
from shared.contracts.events import RevocationReason
from shared.contracts.settings import TenantSettings
from tests.fakes.idempotency import _AppliedKey, _find_applied
from tests.fakes.values import NOW
from worker.domain.records import (
    MAX_IDEMPOTENCY_KEYS,
    MAX_RESET_CODES,
    IdempotencyKey,
    StoredCounts,
    StoredReset,
    StoredTenant,
    TenantRevocation,
)


@dataclass(frozen=True)
class _Entry:
    tenant: StoredTenant
    keys: tuple[_AppliedKey, ...] = ()
    decision: TenantRevocation | None = None
    decided_at: datetime = NOW
    deleted: bool = False
    closed_generation: int = 0

    def find_applied(self, key: IdempotencyKey) -> _AppliedKey | None:
        return _find_applied(self.keys, key)


class FakeTenants:
    """Implements the port `Tenants`."""

    def __init__(self) -> None:
        self._stored: dict[str, _Entry] = {}
        self._removed: list[_Entry] = []
        self._recounts: dict[str, datetime] = {}

    async def add(self, tenant: StoredTenant) -> None:
        creation = IdempotencyKey(tenant.idempotency_key, tenant.registered_at)
        of_email = (each for each in self._removed if each.tenant.email == tenant.email)
        taken = any(each.tenant.email == tenant.email for each in self._stored.values())
        if taken or tenant.id in self._stored or any(each.find_applied(creation) for each in of_email):
            raise EmailTaken
        self._stored[tenant.id] = _Entry(tenant, (_AppliedKey(creation),))

    async def find(self, tenant: str) -> StoredTenant | None:
        return next((each for each in self._visible() if each.id == tenant), None)

    async def find_by_email(self, email: str) -> StoredTenant | None:
        return next((each for each in self._visible() if each.email == email), None)

    async def page(self, search: str, after: str, limit: int) -> Sequence[StoredTenant]:
        wanted = {spelling.lower() for spelling in (search, names.nfc(search))}
        visible = [each for each in self._visible() if any(part in each.email for part in wanted)]
        found = [each for each in visible if each.email > after]
        return sorted(found, key=lambda each: each.email)[:limit]

    async def is_current(self, tenant: StoredTenant) -> bool:
        found = await self.find(tenant.id)
        return found is not None and found.generation == tenant.generation and not found.disabled

    async def admits(self, tenant: str, generation: int) -> bool:
        found = await self.find(tenant)
        return found is not None and not found.disabled and self._stored[tenant].closed_generation <= generation

    async def replace_hash(self, tenant: StoredTenant, password_hash: str) -> None:
        stored = self._stored.get(tenant.id)
        if stored and stored.tenant.password_hash == tenant.password_hash:
            changed = replace(stored.tenant, password_hash=password_hash)
            self._stored[tenant.id] = replace(stored, tenant=changed)

    async def decide_revocation(
        self,
        tenant: str,
        reason: RevocationReason,
        key: IdempotencyKey,
        password_hash: str | None = None,
        *,
        with_users: bool = False,
        revoke_keys: bool = False,
        code_digest: bytes | None = None,
    ) -> TenantRevocation:
        if before := await self.find_decision(tenant, key):
            return before
        stored = self._stored.get(tenant)
        if stored is None or stored.deleted:
            raise TenantNotFound
        reset = stored.tenant.reset
        if code_digest is not None and not (reset and reset.has_live(code_digest, stored.tenant.generation, key.at)):
            raise InvalidCredentials
        decision = TenantRevocation.after(
            tenant,
            stored.tenant.generation,
            reason,
            stored.decision,
            with_users=with_users,
            revoke_keys=revoke_keys,
        )
        changed = replace(
            stored.tenant,
            generation=decision.generation,
            password_hash=password_hash or stored.tenant.password_hash,
            disabled=stored.tenant.disabled or reason is RevocationReason.TENANT_DISABLED,
            reset=None,
        )
        self._stored[tenant] = _Entry(
            changed,
            (*stored.keys, _AppliedKey(key, decision.generation, reason, decision.users_before, decision.keys_before))[
                -MAX_IDEMPOTENCY_KEYS:
            ],
            decision,
            key.at,
            reason is RevocationReason.TENANT_DELETED,
            decision.generation if decision.is_closing else stored.closed_generation,
        )
        return decision

    async def find_decision(self, tenant: str, key: IdempotencyKey) -> TenantRevocation | None:
        return self._decided(key, (each for each in self._all() if each.tenant.id == tenant))

    async def find_decision_by_email(self, email: str, key: IdempotencyKey) -> TenantRevocation | None:
        return self._decided(key, (each for each in self._all() if each.tenant.email == email))

    async def finish_revocation(self, decision: TenantRevocation) -> None:
        stored = self._stored.get(decision.tenant)
        if stored is None or stored.decision is None or stored.decision.generation != decision.generation:
            return
        if stored.deleted:
            self._removed.append(self._stored.pop(decision.tenant))
            self._recounts.pop(decision.tenant, None)
        else:
            self._stored[decision.tenant] = replace(stored, decision=None)

    async def unfinished_revocations(self, older_than: datetime, limit: int) -> Sequence[TenantRevocation]:
        stored = self._stored.values()
        return [each.decision for each in stored if each.decision and each.decided_at < older_than][:limit]

    async def enable(self, tenant: str, key: IdempotencyKey) -> None:
        stored = self._stored.get(tenant)
        if stored and not stored.deleted and not stored.find_applied(key):
            keys = (*stored.keys, _AppliedKey(key))[-MAX_IDEMPOTENCY_KEYS:]
            self._stored[tenant] = replace(stored, tenant=replace(stored.tenant, disabled=False), keys=keys)

    async def begin_reset(self, tenant: StoredTenant, reset: StoredReset) -> None:
        stored = self._stored.get(tenant.id)
        if stored is None or stored.deleted or stored.tenant.generation != reset.generation:
            raise Unavailable
        other = stored.tenant.reset
        if other and (other.idempotency_key, other.generation) == (reset.idempotency_key, reset.generation):
            reset = replace(reset, digests=(*other.digests, *reset.digests)[-MAX_RESET_CODES:])
        self._stored[tenant.id] = replace(stored, tenant=replace(stored.tenant, reset=reset))

    async def change_settings(self, tenant: str, changes: Mapping[str, Any], key: IdempotencyKey) -> StoredTenant:
        stored = self._stored.get(tenant)
        if stored is None or stored.deleted:
            raise TenantNotFound
        if not stored.find_applied(key):
            kept = {**stored.tenant.settings.model_dump(exclude_unset=True, by_alias=False), **changes}
            settings = TenantSettings(**{name: value for name, value in kept.items() if value is not None})
            keys = (*stored.keys, _AppliedKey(key))[-MAX_IDEMPOTENCY_KEYS:]
            stored = replace(stored, tenant=replace(stored.tenant, settings=settings), keys=keys)
            self._stored[tenant] = stored
        return stored.tenant

    async def request_counts(self, tenants: Collection[str], now: datetime) -> None:
        for tenant in tenants:
            if tenant in self._stored and not self._stored[tenant].deleted:
                self._recounts.setdefault(tenant, now)

    async def with_requested_counts(self, limit: int) -> Sequence[str]:
        return sorted(self._recounts, key=lambda tenant: self._recounts[tenant])[:limit]

    async def store_counts(self, tenant: str, counts: StoredCounts | None) -> None:
        self._recounts.pop(tenant, None)
        if counts and (stored := self._stored.get(tenant)):
            self._stored[tenant] = replace(stored, tenant=replace(stored.tenant, counts=counts))

    def _visible(self) -> list[StoredTenant]:
        return [stored.tenant for stored in self._stored.values() if not stored.deleted]

    def _all(self) -> list[_Entry]:
        return [*self._stored.values(), *self._removed]

    @staticmethod
    def _decided(key: IdempotencyKey, stored: Iterable[_Entry]) -> TenantRevocation | None:
        for each in stored:
            if (before := each.find_applied(key)) and before.generation is not None and before.reason is not None:
                return TenantRevocation(
                    each.tenant.id, before.generation, before.reason, before.users_before, before.keys_before
                )
        return None
