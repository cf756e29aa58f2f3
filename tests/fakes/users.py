"""A fake of the port for users: in memory, held to the contract suite of the real one."""

from collections.abc import Collection, Sequence, Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime

from shared.contracts import names
from shared.contracts.errors import LoginTaken, UserNotFound
from shared.contracts.events import RevocationReason
from tests.fakes.marks import _Left, _left_by
from tests.fakes.values import NOW
from worker.domain.records import (
    MARKS_KEPT,
    Ending,
    Mark,
    User,
    UserChanges,
)


@dataclass(frozen=True)
class _StoredUser:
    user: User
    marks: tuple[_Left, ...] = ()
    ending: Ending | None = None
    decided_at: datetime = NOW
    deleted: bool = False

    def left_by(self, mark: Mark) -> _Left | None:
        return _left_by(self.marks, mark)


class FakeUsers:
    """Implements the port `Users`."""

    def __init__(self) -> None:
        self._stored: dict[str, _StoredUser] = {}
        self._removed: list[_StoredUser] = []

    async def add(self, user: User) -> User:
        mark = Mark(user.created_by, user.registered_at)
        first = self._of(user.tenant, user.login)
        if first and first.left_by(mark) and not first.deleted:
            return first.user
        if first or self._removed_after(user.tenant, user.login, mark):
            raise LoginTaken
        self._stored[user.id] = _StoredUser(user, (_Left(mark),))
        return user

    async def add_new(self, users: Sequence[User]) -> AbstractSet[str]:
        taken = set()
        for user in users:
            if self._of(user.tenant, user.login):
                taken.add(user.id)
            else:
                self._stored[user.id] = _StoredUser(user, (_Left(Mark(user.created_by, user.registered_at)),))
        return taken

    async def find(self, tenant: str, login: str) -> User | None:
        return next((user for user in self._visible() if (user.tenant, user.login) == (tenant, login)), None)

    async def spelling(self, tenant: str, login: str, mark: Mark | None = None) -> str:
        if await self.spelled(tenant, [login]) or (mark and self._removed_after(tenant, login, mark)):
            return login
        return names.nfc(login)

    async def spelled(self, tenant: str, logins: Collection[str]) -> AbstractSet[str]:
        return {login for login in logins if self._of(tenant, login)}

    async def is_current(self, user: User) -> bool:
        return any((found.id, found.generation) == (user.id, user.generation) for found in self._visible())

    async def page(self, tenant: str, search: str, after: str, limit: int) -> Sequence[User]:
        wanted = {spelling.casefold() for spelling in (search, names.nfc(search))}
        matching = [
            user
            for user in self._visible()
            if user.tenant == tenant
            and user.login > after
            and any(each in text.casefold() for each in wanted for text in (user.login, user.email))
        ]
        return sorted(matching, key=lambda user: user.login)[:limit]

    async def logins(self, tenant: str, after: str, limit: int) -> Sequence[str]:
        stored = [each.user for each in self._stored.values()]
        return sorted(user.login for user in stored if user.tenant == tenant and user.login > after)[:limit]

    async def change(self, tenant: str, login: str, changes: UserChanges, mark: Mark) -> User:
        stored = self._of(tenant, login)
        if stored is None or stored.deleted or self._removed_after(tenant, login, mark):
            raise UserNotFound
        if not stored.left_by(mark):
            marks = (*stored.marks, _Left(mark))
            stored = replace(stored, user=_changed(stored.user, changes), marks=marks[-MARKS_KEPT:])
            self._stored[stored.user.id] = stored
        return stored.user

    async def replace_hash(self, user: User, password_hash: str) -> None:
        stored = self._stored.get(user.id)
        if stored and stored.user.password_hash == user.password_hash:
            self._stored[user.id] = replace(stored, user=replace(stored.user, password_hash=password_hash))

    async def decide_ending(
        self, tenant: str, login: str, reason: RevocationReason, mark: Mark, changes: UserChanges | None = None
    ) -> Ending:
        stored = self._of(tenant, login)
        for known in filter(None, (stored, self._removed_after(tenant, login, mark))):
            if (before := known.left_by(mark)) and before.generation is not None:
                return Ending(tenant, known.user.id, before.generation, reason)
        if stored is None or stored.deleted:
            raise UserNotFound
        ending = Ending(tenant, stored.user.id, stored.user.generation + 1, reason)
        changed = replace(_changed(stored.user, changes or UserChanges()), generation=ending.generation)
        marks = (*stored.marks, _Left(mark, ending.generation))[-MARKS_KEPT:]
        deleted = reason is RevocationReason.USER_DELETED
        self._stored[stored.user.id] = _StoredUser(changed, marks, ending, mark.at, deleted)
        return ending

    async def finish_ending(self, ending: Ending) -> None:
        stored = self._stored.get(ending.user)
        if stored is None or stored.ending is None or stored.ending.generation != ending.generation:
            return
        if stored.deleted:
            self._removed.append(self._stored.pop(ending.user))
        else:
            self._stored[ending.user] = _StoredUser(stored.user, stored.marks)

    async def tenants_unfinished(self, older_than: datetime) -> Sequence[str]:
        return sorted({ending.tenant for ending in self._endings(older_than)})

    async def unfinished_endings(self, tenant: str, older_than: datetime, limit: int) -> Sequence[Ending]:
        return [ending for ending in self._endings(older_than) if ending.tenant == tenant][:limit]

    async def remove_all(self, tenant: str) -> None:
        self._stored = {id_: each for id_, each in self._stored.items() if each.user.tenant != tenant}

    def _endings(self, older_than: datetime) -> list[Ending]:
        stored = sorted(self._stored.values(), key=lambda each: each.decided_at)
        return [each.ending for each in stored if each.ending and each.decided_at < older_than]

    def _visible(self) -> list[User]:
        return [stored.user for stored in self._stored.values() if not stored.deleted]

    def _of(self, tenant: str, login: str) -> _StoredUser | None:
        stored = self._stored.values()
        return next((each for each in stored if (each.user.tenant, each.user.login) == (tenant, login)), None)

    def _removed_after(self, tenant: str, login: str, mark: Mark) -> _StoredUser | None:
        """A user of this login that the request had changed, or deleted, and that is removed by now."""
        removed = (each for each in self._removed if (each.user.tenant, each.user.login) == (tenant, login))
        return next((each for each in removed if each.left_by(mark)), None)


def _changed(user: User, changes: UserChanges) -> User:
    changed = replace(user, **changes.fields)
    return replace(changed, password_hash=changes.password_hash) if changes.password_hash else changed
