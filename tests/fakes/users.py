"""Fake of the `Users` port, kept in memory; it passes the contract suite of the real adapter."""

from collections.abc import Collection, Sequence, Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime

from shared.contracts import names
from shared.contracts.errors import LoginTaken, UserNotFound
from shared.contracts.events import RevocationReason
from shared.contracts.permissions import Permission
from tests.fakes.idempotency import _AppliedKey, _find_applied
from tests.fakes.values import NOW
from worker.domain.records import (
    MAX_IDEMPOTENCY_KEYS,
    IdempotencyKey,
    StoredUser,
    UserChanges,
    UserRevocation,
)


@dataclass(frozen=True)
class _Entry:
    user: StoredUser
    keys: tuple[_AppliedKey, ...] = ()
    decision: UserRevocation | None = None
    decided_at: datetime = NOW
    deleted: bool = False

    def find_applied(self, key: IdempotencyKey) -> _AppliedKey | None:
        return _find_applied(self.keys, key)


class FakeUsers:
    """Implements the port `Users`."""

    def __init__(self) -> None:
        self._stored: dict[str, _Entry] = {}
        self._removed: list[_Entry] = []

    async def add(self, user: StoredUser) -> StoredUser:
        key = IdempotencyKey(user.idempotency_key, user.registered_at)
        first = self._of(user.tenant, user.login)
        if first and first.find_applied(key) and not first.deleted:
            return first.user
        if first or user.id in self._stored or self._removed_after(user.tenant, user.login, key):
            raise LoginTaken
        self._stored[user.id] = _Entry(user, (_AppliedKey(key),))
        return user

    async def add_new(self, users: Sequence[StoredUser]) -> AbstractSet[str]:
        taken = set()
        for user in users:
            if self._of(user.tenant, user.login):
                taken.add(user.id)
            else:
                self._stored[user.id] = _Entry(
                    user, (_AppliedKey(IdempotencyKey(user.idempotency_key, user.registered_at)),)
                )
        return taken

    async def find(self, tenant: str, login: str) -> StoredUser | None:
        return next((user for user in self._visible() if (user.tenant, user.login) == (tenant, login)), None)

    async def spelling(self, tenant: str, login: str, key: IdempotencyKey | None = None) -> str:
        if await self.spelled(tenant, [login]) or (key and self._removed_after(tenant, login, key)):
            return login
        return names.nfc(login)

    async def spelled(self, tenant: str, logins: Collection[str]) -> AbstractSet[str]:
        return {login for login in logins if self._of(tenant, login)}

    async def is_current(self, user: StoredUser) -> bool:
        return any((found.id, found.generation) == (user.id, user.generation) for found in self._visible())

    async def page(self, tenant: str, search: str, after: str, limit: int) -> Sequence[StoredUser]:
        wanted = {spelling.casefold() for spelling in (search, names.nfc(search))}
        matching = [
            user
            for user in self._visible()
            if user.tenant == tenant
            and user.login > after
            and any(each in text.casefold() for each in wanted for text in (user.login, user.email))
        ]
        return sorted(matching, key=lambda user: user.login)[:limit]

    async def named(self, names: Collection[str], after: str, limit: int) -> Sequence[StoredUser]:
        found = [each for each in self._visible() if each.id > after and {each.login, each.email} & set(names)]
        return sorted(found, key=lambda user: user.id)[:limit]

    async def tenants_of(self, logins: Collection[str], limit: int) -> AbstractSet[str]:
        found = {each.user.tenant for each in self._stored.values() if each.user.login in logins}
        return set(sorted(found)[:limit])

    async def count(self, tenant: str, limit: int | None) -> int:
        return len([each for each in self._stored.values() if each.user.tenant == tenant][:limit])

    async def logins(self, tenant: str, after: str, limit: int) -> Sequence[str]:
        stored = [each.user for each in self._stored.values()]
        return sorted(user.login for user in stored if user.tenant == tenant and user.login > after)[:limit]

    async def change(self, tenant: str, login: str, changes: UserChanges, key: IdempotencyKey) -> StoredUser:
        stored = self._of(tenant, login)
        if stored is None or stored.deleted or self._removed_after(tenant, login, key):
            raise UserNotFound
        if not stored.find_applied(key):
            keys = (*stored.keys, _AppliedKey(key))
            stored = replace(stored, user=_changed(stored.user, changes), keys=keys[-MAX_IDEMPOTENCY_KEYS:])
            self._stored[stored.user.id] = stored
        return stored.user

    async def operators(
        self, tenant: str | None, limit: int, permission: Permission | None = None
    ) -> Sequence[StoredUser]:
        found = [
            user
            for user in self._visible()
            if tenant in (None, user.tenant)
            and (user.operator_permissions if permission is None else permission in user.operator_permissions)
        ]
        return sorted(found, key=lambda user: user.login)[:limit]

    async def replace_operator_permissions(
        self, user: StoredUser, permissions: AbstractSet[Permission], key: IdempotencyKey
    ) -> StoredUser | None:
        stored = self._stored.get(user.id)
        if stored is None or stored.deleted:
            return None
        if stored.find_applied(key):
            return stored.user
        if stored.user.operator_permissions != user.operator_permissions:
            return None
        changed = replace(stored.user, operator_permissions=frozenset(permissions))
        keys = (*stored.keys, _AppliedKey(key))[-MAX_IDEMPOTENCY_KEYS:]
        self._stored[user.id] = replace(stored, user=changed, keys=keys)
        return changed

    async def replace_hash(self, user: StoredUser, password_hash: str) -> None:
        stored = self._stored.get(user.id)
        if stored and stored.user.password_hash == user.password_hash:
            self._stored[user.id] = replace(stored, user=replace(stored.user, password_hash=password_hash))

    async def decide_revocation(
        self, tenant: str, login: str, reason: RevocationReason, key: IdempotencyKey, changes: UserChanges | None = None
    ) -> UserRevocation:
        stored = self._of(tenant, login)
        for known in filter(None, (stored, self._removed_after(tenant, login, key))):
            if (before := known.find_applied(key)) and before.generation is not None:
                return UserRevocation(tenant, login, known.user.id, before.generation, reason)
        if stored is None or stored.deleted:
            raise UserNotFound
        decision = UserRevocation(tenant, login, stored.user.id, stored.user.generation + 1, reason)
        changed = replace(_changed(stored.user, changes or UserChanges()), generation=decision.generation)
        keys = (*stored.keys, _AppliedKey(key, decision.generation))[-MAX_IDEMPOTENCY_KEYS:]
        deleted = reason is RevocationReason.USER_DELETED
        self._stored[stored.user.id] = _Entry(changed, keys, decision, key.at, deleted)
        return decision

    async def finish_revocation(self, decision: UserRevocation) -> None:
        stored = self._stored.get(decision.user)
        if stored is None or stored.decision is None or stored.decision.generation != decision.generation:
            return
        if stored.deleted:
            self._removed.append(self._stored.pop(decision.user))
        else:
            self._stored[decision.user] = _Entry(stored.user, stored.keys)

    async def tenants_with_unfinished_revocations(self, older_than: datetime) -> Sequence[str]:
        return sorted({decision.tenant for decision in self._unfinished(older_than)})

    async def unfinished_revocations(self, tenant: str, older_than: datetime, limit: int) -> Sequence[UserRevocation]:
        return [decision for decision in self._unfinished(older_than) if decision.tenant == tenant][:limit]

    async def remove_all(self, tenant: str) -> None:
        self._stored = {id_: each for id_, each in self._stored.items() if each.user.tenant != tenant}

    def _unfinished(self, older_than: datetime) -> list[UserRevocation]:
        stored = sorted(self._stored.values(), key=lambda each: each.decided_at)
        return [each.decision for each in stored if each.decision and each.decided_at < older_than]

    def _visible(self) -> list[StoredUser]:
        return [stored.user for stored in self._stored.values() if not stored.deleted]

    def _of(self, tenant: str, login: str) -> _Entry | None:
        stored = self._stored.values()
        return next((each for each in stored if (each.user.tenant, each.user.login) == (tenant, login)), None)

    def _removed_after(self, tenant: str, login: str, key: IdempotencyKey) -> _Entry | None:
        """Return the removed user of this login that the request with this key had changed or deleted."""
        removed = (each for each in self._removed if (each.user.tenant, each.user.login) == (tenant, login))
        return next((each for each in removed if each.find_applied(key)), None)


def _changed(user: StoredUser, changes: UserChanges) -> StoredUser:
    changed = replace(user, **changes.fields)
    return replace(changed, password_hash=changes.password_hash) if changes.password_hash else changed
