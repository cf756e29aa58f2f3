"""The worker's ports in memory. The suites of `tests/contract` hold them to what the real adapters do."""

import asyncio
import hashlib
from collections.abc import Collection, Iterable, Sequence, Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from shared.contracts import names
from shared.contracts.errors import EmailTaken, LoginTaken, TenantNotFound, UserNotFound
from shared.contracts.events import RevocationReason
from shared.contracts.wire import MIN_PASSWORD_CHARS
from worker.adapters.jwt_tokens import JwtTokens
from worker.domain.attempts import Count, Limit, Throttle
from worker.domain.call import Call
from worker.domain.ports import (
    Activity,
    Attempts,
    Audit,
    Clock,
    Database,
    Events,
    Hasher,
    Lifetimes,
    Ports,
    Registration,
    Sessions,
    Tenants,
    Tokens,
    Turns,
    Users,
)
from worker.domain.records import (
    CLOSING,
    MARKS_KEPT,
    AuditQuery,
    AuditRecord,
    Ending,
    Mark,
    Revocation,
    Session,
    Tenant,
    TenantEnding,
    User,
    UserChanges,
)

#: When a `FakeClock` begins.
NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
ISSUER = "auth.test"
MASTER_KEYS = {"test": bytes(range(32))}
REGISTRATION_KEY = "the registration key"
#: Nobody's choice in the tests, but in those that try them.
COMMON_PASSWORDS = frozenset({"password", "iloveyou"})
LIFETIMES = Lifetimes(tenant=timedelta(days=2), user=timedelta(days=1))
#: That of an account, as it is configured by default, but for the end to it.
LIMIT = Limit(free=5, longest_wait=timedelta(seconds=60), window=timedelta(hours=1))
#: That of strangers to it.
STRANGERS = replace(LIMIT, most_in_a_row=100)
THROTTLE = Throttle(
    account=STRANGERS, address=replace(LIMIT, free=20), known_for=timedelta(days=30), registration_key=LIMIT
)


class FakeClock:
    """Implements the port `Clock`: stands still until it is moved."""

    def __init__(self, now: datetime = NOW) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def advance(self, by: timedelta) -> None:
        self._now += by


@dataclass(frozen=True)
class _Left:
    """A mark as a request has left it, with the generation that the request decided."""

    mark: Mark
    generation: int | None = None
    reason: RevocationReason | None = None
    users_before: int = 0


def _left_by(marks: Iterable[_Left], mark: Mark) -> _Left | None:
    fresh = (left for left in marks if left.mark.at > mark.forgotten_at)
    return next((left for left in fresh if left.mark.by == mark.by), None)


@dataclass(frozen=True)
class _StoredTenant:
    tenant: Tenant
    marks: tuple[_Left, ...] = ()
    ending: TenantEnding | None = None
    decided_at: datetime = NOW
    deleted: bool = False
    closed_generation: int = 0

    def left_by(self, mark: Mark) -> _Left | None:
        return _left_by(self.marks, mark)


class FakeTenants:
    """Implements the port `Tenants`."""

    def __init__(self) -> None:
        self._stored: dict[str, _StoredTenant] = {}
        self._removed: list[_StoredTenant] = []

    async def add(self, tenant: Tenant) -> None:
        creation = Mark(tenant.created_by, tenant.registered_at)
        of_email = (each for each in self._removed if each.tenant.email == tenant.email)
        taken = any(each.tenant.email == tenant.email for each in self._stored.values())
        if taken or any(each.left_by(creation) for each in of_email):
            raise EmailTaken
        self._stored[tenant.id] = _StoredTenant(tenant, (_Left(creation),))

    async def find(self, tenant: str) -> Tenant | None:
        return next((each for each in self._visible() if each.id == tenant), None)

    async def find_by_email(self, email: str) -> Tenant | None:
        return next((each for each in self._visible() if each.email == email), None)

    async def page(self, after: str, limit: int) -> Sequence[Tenant]:
        found = [each for each in self._visible() if each.email > after]
        return sorted(found, key=lambda each: each.email)[:limit]

    async def is_current(self, tenant: Tenant) -> bool:
        found = await self.find(tenant.id)
        return found is not None and found.generation == tenant.generation and not found.disabled

    async def admits(self, tenant: str, generation: int) -> bool:
        found = await self.find(tenant)
        return found is not None and not found.disabled and self._stored[tenant].closed_generation <= generation

    async def replace_hash(self, tenant: Tenant, password_hash: str) -> None:
        stored = self._stored.get(tenant.id)
        if stored and stored.tenant.password_hash == tenant.password_hash:
            changed = replace(stored.tenant, password_hash=password_hash)
            self._stored[tenant.id] = replace(stored, tenant=changed)

    async def decide_ending(
        self, tenant: str, reason: RevocationReason, mark: Mark, password_hash: str | None = None
    ) -> TenantEnding:
        if before := await self.decided(tenant, mark):
            return before
        stored = self._stored.get(tenant)
        if stored is None or stored.deleted:
            raise TenantNotFound
        ending = TenantEnding.after(tenant, stored.tenant.generation, reason, stored.ending)
        changed = replace(
            stored.tenant,
            generation=ending.generation,
            password_hash=password_hash or stored.tenant.password_hash,
            disabled=stored.tenant.disabled or reason is RevocationReason.TENANT_DISABLED,
        )
        self._stored[tenant] = _StoredTenant(
            changed,
            (*stored.marks, _Left(mark, ending.generation, reason, ending.users_before))[-MARKS_KEPT:],
            ending,
            mark.at,
            reason is RevocationReason.TENANT_DELETED,
            ending.generation if reason in CLOSING else stored.closed_generation,
        )
        return ending

    async def decided(self, tenant: str, mark: Mark) -> TenantEnding | None:
        return self._decided(mark, (each for each in self._all() if each.tenant.id == tenant))

    async def decided_about(self, email: str, mark: Mark) -> TenantEnding | None:
        return self._decided(mark, (each for each in self._all() if each.tenant.email == email))

    async def finish_ending(self, ending: TenantEnding) -> None:
        stored = self._stored.get(ending.tenant)
        if stored is None or stored.ending is None or stored.ending.generation != ending.generation:
            return
        if stored.deleted:
            self._removed.append(self._stored.pop(ending.tenant))
        else:
            self._stored[ending.tenant] = replace(stored, ending=None)

    async def unfinished_endings(self, older_than: datetime, limit: int) -> Sequence[TenantEnding]:
        stored = self._stored.values()
        return [each.ending for each in stored if each.ending and each.decided_at < older_than][:limit]

    async def enable(self, tenant: str, mark: Mark) -> None:
        stored = self._stored.get(tenant)
        if stored and not stored.deleted and not stored.left_by(mark):
            marks = (*stored.marks, _Left(mark))[-MARKS_KEPT:]
            self._stored[tenant] = replace(stored, tenant=replace(stored.tenant, disabled=False), marks=marks)

    def _visible(self) -> list[Tenant]:
        return [stored.tenant for stored in self._stored.values() if not stored.deleted]

    def _all(self) -> list[_StoredTenant]:
        return [*self._stored.values(), *self._removed]

    @staticmethod
    def _decided(mark: Mark, stored: Iterable[_StoredTenant]) -> TenantEnding | None:
        for each in stored:
            if (before := each.left_by(mark)) and before.generation is not None and before.reason is not None:
                return TenantEnding(each.tenant.id, before.generation, before.reason, before.users_before)
        return None


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
        return names.normal(login)

    async def spelled(self, tenant: str, logins: Collection[str]) -> AbstractSet[str]:
        return {login for login in logins if self._of(tenant, login)}

    async def is_current(self, user: User) -> bool:
        return any((found.id, found.generation) == (user.id, user.generation) for found in self._visible())

    async def page(self, tenant: str, search: str, after: str, limit: int) -> Sequence[User]:
        wanted = {spelling.casefold() for spelling in (search, names.normal(search))}
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


class FakeSessions:
    """Implements the port `Sessions`. `finds` holds what was asked for, one entry a query."""

    def __init__(self) -> None:
        self.finds: list[Sequence[str]] = []
        self._stored: dict[str, Session] = {}
        self._outbox: dict[str, datetime] = {}

    async def add(self, session: Session) -> Session:
        def key(of: Session) -> tuple[str, str | None, str]:
            return of.tenant, of.user, of.opened_by

        first = next((other for other in self._stored.values() if key(other) == key(session)), None)
        return first or self._stored.setdefault(session.id, session)

    async def find(self, ids: Sequence[str]) -> dict[str, Session]:
        self.finds.append(ids)
        return {session_id: self._stored[session_id] for session_id in ids if session_id in self._stored}

    async def live_of_user(self, user: User, now: datetime, limit: int) -> Sequence[Session]:
        live = [session for session in self._live(user.tenant, user.id, now) if session.generation == user.generation]
        return sorted(live, key=lambda session: session.issued_at, reverse=True)[:limit]

    async def revoke(self, session: Session, revocation: Revocation) -> Session | None:
        stored = self._stored.get(session.id)
        if stored is None or stored.revocation is not None:
            return None
        self._stored[session.id] = replace(stored, revocation=revocation)
        self._outbox[session.id] = revocation.at
        return self._stored[session.id]

    async def refused(self, session: Session, at: datetime, retry_at: datetime | None) -> bool:
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

    async def revoke_older(self, ending: Ending, now: datetime, limit: int) -> Sequence[Session]:
        for session in self._live(ending.tenant, ending.user, now):
            if session.generation < ending.generation:
                await self.revoke(session, Revocation(now, ending.reason))
        waiting = [self._stored[session_id] for session_id, since in self._outbox.items() if since <= now]
        of_user = [session for session in waiting if (session.tenant, session.user) == (ending.tenant, ending.user)]
        return of_user[:limit]

    async def revoke_of_tenant(self, ending: TenantEnding, now: datetime, limit: int) -> Sequence[Session]:
        for session in list(self._stored.values()):
            live = session.revocation is None and session.expires_at > now
            before = ending.users_before if session.user else ending.generation
            if session.tenant == ending.tenant and live and session.tenant_generation < before:
                await self.revoke(session, Revocation(now, ending.users_reason if session.user else ending.reason))
        waiting = (self._stored[session_id] for session_id, since in self._outbox.items() if since <= now)
        of_tenant = (session for session in waiting if session.tenant == ending.tenant)
        return [session for session in of_tenant if session.user is None or ending.users_before][:limit]

    async def surplus(self, session: Session, kept: int, now: datetime, limit: int) -> Sequence[Session]:
        live = self._live(session.tenant, session.user or "", now)
        of_generation = [each for each in live if each.generation == session.generation]
        newest_first = sorted(of_generation, key=lambda each: (each.issued_at, each.id), reverse=True)
        return newest_first[kept : kept + limit]

    async def settled(self, session: Session) -> None:
        if session.id in self._stored:
            self._stored[session.id] = replace(self._stored[session.id], displaces=False)

    async def tenants_unsettled(self, older_than: datetime) -> Sequence[str]:
        return sorted({each.tenant for each in self._displacing(older_than)})

    async def unsettled(self, tenant: str, older_than: datetime, limit: int) -> Sequence[Session]:
        return [each for each in self._displacing(older_than) if each.tenant == tenant][:limit]

    async def tenants_unannounced(self, older_than: datetime) -> Sequence[str]:
        return sorted({self._stored[session_id].tenant for session_id, since in self._waiting() if since < older_than})

    async def unannounced(self, tenant: str, older_than: datetime, limit: int) -> Sequence[Session]:
        due = (self._stored[session_id] for session_id, since in self._waiting() if since < older_than)
        return [session for session in due if session.tenant == tenant][:limit]

    async def unannounced_of(self, tenant: str, limit: int) -> Sequence[Session]:
        sessions = [self._stored[session_id] for session_id, _ in self._waiting()]
        return [session for session in sessions if session.tenant == tenant][:limit]

    async def announced_after(self, tenant: str, at: datetime, session_id: str, limit: int) -> Sequence[Session]:
        announced = [
            (session.revocation.announced_at, session.id)
            for session in self._stored.values()
            if session.tenant == tenant and session.revocation and session.revocation.announced_at
        ]
        return [self._stored[id_] for when, id_ in sorted(announced) if (when, id_) > (at, session_id)][:limit]

    async def announced(self, session: Session, at: datetime) -> None:
        self._outbox.pop(session.id, None)
        stored = self._stored.get(session.id)
        if stored and stored.revocation:
            self._stored[session.id] = replace(stored, revocation=replace(stored.revocation, announced_at=at))

    def _waiting(self) -> list[tuple[str, datetime]]:
        return sorted(self._outbox.items(), key=lambda each: each[1])

    def _displacing(self, older_than: datetime) -> list[Session]:
        displacing = [each for each in self._stored.values() if each.displaces and each.issued_at < older_than]
        return sorted(displacing, key=lambda each: each.issued_at)

    def _live(self, tenant: str, user: str, now: datetime) -> list[Session]:
        return [
            session
            for session in self._stored.values()
            if (session.tenant, session.user) == (tenant, user)
            and session.revocation is None
            and session.expires_at > now
        ]


class FakeAttempts:
    """Implements the port `Attempts`. Others run between its steps, as they do beside the real one."""

    def __init__(self) -> None:
        self._counts: dict[str, Count] = {}

    @property
    def keys(self) -> set[str]:
        """What anything is counted under."""
        return set(self._counts)

    @property
    def tried(self) -> int:
        """How many attempts are counted, under whatever key."""
        return sum(count.tried for count in self._counts.values())

    async def find(self, keys: Sequence[str]) -> dict[str, Count]:
        await asyncio.sleep(0)
        return {key: self._counts[key] for key in keys if key in self._counts}

    async def count(self, key: str, seen: Count | None, limit: Limit, now: datetime) -> bool:
        await asyncio.sleep(0)
        stored = self._counts.get(key)
        over = stored is not None and limit.is_over(stored, now)
        if seen is None or (seen.tried < limit.free and not limit.is_over(seen, now)):
            stored = stored or Count(0, 0, now, now, limit.kept_until(1, now))
            if over or stored.tried >= limit.free or limit.is_locked(stored, now):
                return False
        elif stored is None or (stored.tried, stored.since, stored.last_at) != (seen.tried, seen.since, seen.last_at):
            return False
        row = stored.in_a_row + 1 if now < stored.kept_until else 1
        kept_until = max(stored.kept_until, limit.kept_until(row, now))
        if over:
            stored = Count(0, 0, now, now, kept_until)
        elif limit.most_in_a_row is not None:
            stored = replace(stored, kept_until=kept_until)
        counted = replace(stored, tried=stored.tried + 1, under_way=stored.under_way + 1, last_at=now, in_a_row=row)
        self._counts[key] = counted
        return True

    async def failed(self, key: str) -> None:
        self._change(key, tried=0)

    async def take_back(self, key: str) -> None:
        self._change(key, tried=-1)

    async def keep(self, key: str, now: datetime, until: datetime) -> None:
        self._counts[key] = Count(0, 0, now, now, until)

    async def forget(self, key: str) -> None:
        self._counts.pop(key, None)

    def _change(self, key: str, *, tried: int) -> None:
        stored = self._counts.get(key)
        if stored and stored.under_way and stored.tried + tried >= 0:
            self._counts[key] = replace(
                stored,
                under_way=stored.under_way - 1,
                tried=stored.tried + tried,
                in_a_row=max(stored.in_a_row + tried, 0),
            )


class FakeAudit:
    """Implements the port `Audit`. What was refused is on record at once."""

    def __init__(self) -> None:
        self.records: dict[str, AuditRecord] = {}

    async def append(self, record: AuditRecord) -> None:
        self.records.setdefault(record.id, record)

    def attempted(self, record: AuditRecord) -> None:
        attempts = self.records[record.id].attempts if record.id in self.records else 0
        first = self.records.get(record.id, record)
        self.records[record.id] = replace(first, attempts=attempts + record.attempts)

    async def write(self) -> None:
        """Nothing waits here."""

    async def page(self, query: AuditQuery, limit: int) -> Sequence[AuditRecord]:
        found = [
            record
            for record in self.records.values()
            if record.tenant == query.tenant
            and query.type in (None, record.type)
            and (not query.logins or record.login in query.logins)
            and query.from_position <= record.position < query.to_position
        ]
        return sorted(found, key=lambda record: record.position, reverse=True)[:limit]


class FakeHasher:
    """Implements the port `Hasher`. `work` counts slow computations; `parameters` are those of today."""

    def __init__(self, parameters: str = "today") -> None:
        self.parameters = parameters
        self.work = 0
        self._salts = 0

    async def hash(self, password: str) -> str:
        await self._compute()
        self._salts += 1
        return self._digest(self.parameters, str(self._salts), password)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        await self._compute()
        if password_hash is None:
            return False
        parameters, salt, _ = password_hash.split("$")
        return self._digest(parameters, salt, password) == password_hash

    def is_stale(self, password_hash: str) -> bool:
        return not password_hash.startswith(f"{self.parameters}$")

    async def _compute(self) -> None:
        self.work += 1
        await asyncio.sleep(0)  # others run meanwhile, as they do beside the real one

    @staticmethod
    def _digest(parameters: str, salt: str, password: str) -> str:
        return f"{parameters}${salt}${hashlib.sha256(f'{salt}{password}'.encode()).hexdigest()}"


class FakeTurns:
    """Implements the port `Turns`: it is always everybody's turn. `entered` holds whose requests have come."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        self.left = 0

    def refuse_early(self, session: str | None) -> None:
        """There is a place for everybody."""

    async def enter(self, whose: str, call: Call, session: str | None = None) -> None:  # noqa: ARG002 - as the port has it
        self.entered.append(whose)

    def leave(self) -> None:
        self.left += 1


class FakeEvents:
    """Implements the port `Events`. What is announced stays in the outbox, as it does while the broker is away."""

    def __init__(self) -> None:
        self.announced: list[Session] = []

    def announce(self, session: Session) -> None:
        self.announced.append(session)

    @property
    def reasons(self) -> dict[str, RevocationReason]:
        """Why the sessions announced so far ended, by their ids."""
        return {session.id: session.revocation.reason for session in self.announced if session.revocation}


class FakeActivity:
    """Implements the port `Activity`."""

    def __init__(self) -> None:
        self.last_seen: dict[str, datetime] = {}

    def seen(self, user: str, at: datetime) -> None:
        self.last_seen[user] = at


class FakeDatabase:
    """Implements the port `Database`."""

    def __init__(self, *, answers: bool = True) -> None:
        self._answers = answers

    async def ping(self) -> bool:
        return self._answers


class FakeRegistration:
    """Implements the port `Registration`. `asked` holds the keys and addresses that were shown to it.

    With `allowed` anybody may register from anywhere; without, only the holder of the key.
    """

    def __init__(self, *, allowed: bool = True) -> None:
        self.asked: list[str | None] = []
        self.allowed = allowed

    def admits(self, address: str | None) -> bool:
        self.asked.append(address)
        return self.allowed

    def is_key(self, key: str) -> bool:
        self.asked.append(key)
        return key == REGISTRATION_KEY


def ports(
    *,
    tenants: Tenants | None = None,
    users: Users | None = None,
    sessions: Sessions | None = None,
    attempts: Attempts | None = None,
    audit: Audit | None = None,
    hasher: Hasher | None = None,
    turns: Turns | None = None,
    tokens: Tokens | None = None,
    events: Events | None = None,
    activity: Activity | None = None,
    database: Database | None = None,
    clock: Clock | None = None,
    registration: Registration | None = None,
    common_passwords: AbstractSet[str] = COMMON_PASSWORDS,
    lifetimes: Lifetimes = LIFETIMES,
    throttle: Throttle = THROTTLE,
    min_password_chars: int = MIN_PASSWORD_CHARS,
    max_sessions_per_user: int = 0,
) -> Ports:
    """Everything an operation may use: what is given, and fakes for the rest. The tokens are real JWTs."""
    return Ports(
        tenants=tenants or FakeTenants(),
        users=users or FakeUsers(),
        sessions=sessions or FakeSessions(),
        attempts=attempts or FakeAttempts(),
        audit=audit or FakeAudit(),
        hasher=hasher or FakeHasher(),
        turns=turns or FakeTurns(),
        tokens=tokens or JwtTokens(MASTER_KEYS, ISSUER),
        events=events or FakeEvents(),
        activity=activity or FakeActivity(),
        database=database or FakeDatabase(),
        clock=clock or FakeClock(),
        registration=registration or FakeRegistration(),
        common_passwords=common_passwords,
        lifetimes=lifetimes,
        throttle=throttle,
        min_password_chars=min_password_chars,
        max_sessions_per_user=max_sessions_per_user,
    )


def _changed(user: User, changes: UserChanges) -> User:
    changed = replace(user, **changes.fields)
    return replace(changed, password_hash=changes.password_hash) if changes.password_hash else changed
