"""What the operations need of the world, as protocols, and the records that pass through them.

Adapters (`worker.adapters`) put them on MongoDB, argon2, JWT and AMQP; fakes put them in memory for the tests. Both
pass the same contract suites. All datetimes are aware and UTC.
"""

from collections.abc import Sequence, Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from shared.contracts.claims import Claims
from shared.contracts.events import RevocationReason, SessionRevoked, SessionRevokedEvent


@dataclass(frozen=True, slots=True)
class Tenant:
    """A service or product that owns users. `created_by` is the message id of the request that made it.

    `generation` grows whenever sessions of it have to end; its sessions, and those of its users, carry the one they
    began in.
    """

    id: str
    email: str
    password_hash: str = field(repr=False)
    registered_at: datetime
    created_by: str
    generation: int = 0
    disabled: bool = False

    @property
    def login(self) -> str:
        return f"tenant:{self.email}"


@dataclass(frozen=True, slots=True)
class User:
    """An account. `generation` grows whenever all its sessions have to end; sessions carry the one they began in.

    `created_by` names the request that made it, as marks do.
    """

    id: str
    tenant: str
    login: str
    email: str
    sub: str
    scope: Any
    password_hash: str = field(repr=False)
    registered_at: datetime
    last_active_at: datetime
    created_by: str
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Revocation:
    """That a session ended before its time."""

    at: datetime
    reason: RevocationReason
    announced_at: datetime | None = None
    """When its event had reached the broker; None before that."""
    by: str | None = None
    """The mark of the request that ended this one session; None when it ended together with others."""


@dataclass(frozen=True, slots=True)
class Session:
    """One login. `secret` is part of the key of its tokens; without it they cannot be verified, nor made."""

    id: str
    secret: bytes = field(repr=False)
    master_key_id: str
    tenant: str
    user: str | None
    """None: a session of the tenant itself."""
    login: str
    device_id: str | None
    issued_at: datetime
    expires_at: datetime
    opened_by: str
    """Names the request that opened it, so that the same login delivered twice opens one session."""
    generation: int = 0
    """The user's."""
    tenant_generation: int = 0
    """The tenant's; a user's session has that of the tenant's session that it was opened through."""
    displaces: bool = False
    """Opened where a user's sessions are limited; older ones may still have to end for it."""
    revocation: Revocation | None = None

    def revoked_event(self, source: str) -> SessionRevokedEvent:
        """What subscribers are told of its revocation, the same each time. `source` is who says so."""
        if self.revocation is None:
            raise ValueError("the session is not revoked")
        data = SessionRevoked(
            session_id=self.id,
            tenant=self.tenant,
            user=self.user,
            login=self.login,
            device_id=self.device_id,
            reason=self.revocation.reason,
            event_timestamp=int(self.revocation.at.timestamp()),
            exp=int(self.expires_at.timestamp()),
        )
        return SessionRevokedEvent.of(data, source)


#: A message may come back until its deadline, ten minutes at most; the rest is for clocks that differ.
REMEMBERED = timedelta(minutes=15)
#: Of one user. More changes of it, before one of their requests comes back, are more than anybody makes in minutes.
MARKS_KEPT = 32


@dataclass(frozen=True, slots=True)
class Mark:
    """What a request leaves in what it changes, in the same update: so it changes it once, however often it comes."""

    by: str
    """Names the request: its message id, its operation, and all that it asks for but a password."""
    at: datetime

    @property
    def forgotten_at(self) -> datetime:
        """Older marks say nothing any more: who uses the name again means another request."""
        return self.at - REMEMBERED


@dataclass(frozen=True, slots=True)
class Ending:
    """The decision, stored with the user, that every session older than `generation` ends.

    It is written in the same update as its cause (a new password, a deletion), before any session is touched. Whoever
    finds it can carry it out, as often as they like: so a crash in between leaves nothing half-done for long.
    """

    tenant: str
    user: str
    generation: int
    reason: RevocationReason


@dataclass(frozen=True, slots=True)
class TenantEnding:
    """The decision, stored with the tenant, that its sessions from before `generation` end; as `Ending` for a user."""

    tenant: str
    generation: int
    reason: RevocationReason

    @property
    def is_of_users_too(self) -> bool:
        """Or else of the tenant's own sessions alone."""
        return self.reason in {RevocationReason.TENANT_DISABLED, RevocationReason.TENANT_DELETED}


@dataclass(frozen=True, slots=True)
class UserChanges:
    """New values for some of a user's attributes; only what is in `fields` is written."""

    fields: dict[str, Any] = field(default_factory=dict)
    password_hash: str | None = field(default=None, repr=False)


#: The first wait is hardly noticed by a person who mistyped; each further one is twice as long.
FIRST_WAIT = timedelta(seconds=1)
#: Longer than anybody may be made to wait, and still a time.
MAX_DOUBLINGS = 20


@dataclass(frozen=True, slots=True)
class Count:
    """Attempts to log in that were not right, those among them whose outcome is not known yet, and when they were."""

    tried: int
    under_way: int
    since: datetime
    last_at: datetime
    kept_until: datetime


@dataclass(frozen=True, slots=True)
class Limit:
    """So many attempts are free within a window that begins with the first; each further one has to wait longer."""

    free: int
    longest_wait: timedelta
    window: timedelta

    def wait(self, count: Count | None, now: datetime) -> timedelta:
        """From now until the next attempt."""
        if count is None or self.is_over(count, now) or count.tried < self.free:
            return timedelta()
        doublings = min(count.tried - self.free, MAX_DOUBLINGS)
        wait = min(FIRST_WAIT * (1 << doublings), self.longest_wait)
        # Not more than that, whatever the clock of the worker said that counted last.
        return max(min(wait, count.last_at + wait - now, count.since + self.window - now), timedelta())

    def is_over(self, count: Count, now: datetime) -> bool:
        """Whether all these attempts are too long ago."""
        return count.since + self.window <= now


@dataclass(frozen=True, slots=True)
class Throttle:
    """How guessing is slowed down; None: not at all."""

    account: Limit | None
    address: Limit | None
    known_for: timedelta
    """From where an account has logged in is remembered for so long."""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One line of the audit trail. No secret is in it, nor what follows from one."""

    id: str
    """The same for all that this record stands for."""
    tenant: str
    at: datetime
    type: str
    outcome: str
    login: str | None = None
    session: str | None = None
    device_id: str | None = None
    client_address: str | None = None
    reason: str | None = None
    changed: tuple[str, ...] = ()
    by_operator: bool = False
    request_id: str | None = None
    attempts: int = 1

    @property
    def position(self) -> str:
        """Where it stands among the tenant's records: they are in order of time, and then of id."""
        return audit_position(int(self.at.timestamp() * 1000), self.id)


#: Before any other: ids are 128 bits in hexadecimal.
FIRST_ID = "0" * 32


def audit_position(milliseconds: int, id_: str = FIRST_ID) -> str:
    """Where a record of this time stands, or where those of this time begin. Sorts as text."""
    return f"{milliseconds:015d}.{id_}"


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which records of a tenant are asked for; times in milliseconds since the epoch."""

    tenant: str
    type: str | None
    login: str | None
    since: int
    until: int
    before: str | None
    """The position of the last record of the page before."""

    @property
    def from_position(self) -> str:
        return audit_position(self.since)

    @property
    def to_position(self) -> str:
        """The first that is not asked for any more."""
        until = audit_position(self.until)
        return until if self.before is None else min(until, self.before)


class Tenants(Protocol):
    async def add(self, tenant: Tenant) -> None:
        """Stores it durably. Raises `EmailTaken`; also when the same request has stored one that was deleted since."""

    async def find(self, tenant: str) -> Tenant | None:
        """A tenant that is not being deleted, disabled or not."""

    async def find_by_email(self, email: str) -> Tenant | None:
        """As `find`."""

    async def is_current(self, tenant: Tenant) -> bool:
        """Whether it is at this generation still, and neither disabled nor being deleted."""

    async def admits(self, tenant: str, generation: int) -> bool:
        """Whether users may log in through a session of this generation: neither then nor now was an end to it."""

    async def replace_hash(self, tenant: Tenant, password_hash: str) -> None:
        """Stores a stronger hash of the same password, unless the password changed meanwhile."""

    async def decide_ending(
        self, tenant: str, reason: RevocationReason, mark: Mark, password_hash: str | None = None
    ) -> TenantEnding:
        """Durably decides, in one update with its cause, that sessions of the tenant end; as `Users.decide_ending`.

        The cause is a new password, if there is one, or that the tenant is disabled or deleted, if that is the reason:
        a deleted one is found no more. Raises `TenantNotFound`.
        """

    async def decided(self, tenant: str, mark: Mark) -> TenantEnding | None:
        """What this request has decided about the tenant, also when that is finished, and the tenant deleted."""

    async def decided_about(self, email: str, mark: Mark) -> TenantEnding | None:
        """The same of a tenant of this email; if it is deleted, another may have that by now."""

    async def finish_ending(self, ending: TenantEnding) -> None:
        """The sessions have ended: forgets the decision, and the tenant if it was to be deleted, but not its marks."""

    async def unfinished_endings(self, older_than: datetime, limit: int) -> Sequence[TenantEnding]:
        """Decisions that somebody made before and did not finish."""

    async def enable(self, tenant: str, mark: Mark) -> None:
        """Ends that it is disabled, once for each request: who disabled it since is not undone."""


class Users(Protocol):
    async def add(self, user: User) -> User:
        """Stores it durably. If the same request has stored one before, that one is the answer, as it is now.

        Raises `LoginTaken`: one login, one user in each tenant; also when the one stored before was deleted since.
        """

    async def find(self, tenant: str, login: str) -> User | None:
        """A user that is not being deleted."""

    async def is_current(self, user: User) -> bool:
        """Whether it still is at this generation, and not being deleted. Sees every acknowledged write."""

    async def page(self, tenant: str, search: str, after: str, limit: int) -> Sequence[User]:
        """Up to `limit` users with a login greater than `after`, in order of login.

        `search` is part of login or email, in any case; empty matches all.
        """

    async def change(self, tenant: str, login: str, changes: UserChanges, mark: Mark) -> User:
        """Writes attributes, no password, and answers the user as it is then.

        If the same request has written before, nothing is written: what others wrote since stays. Raises
        `UserNotFound`, also when the user it was written to was deleted since, and another has the login.
        """

    async def replace_hash(self, user: User, password_hash: str) -> None:
        """Stores a stronger hash of the same password, unless the password changed meanwhile."""

    async def decide_ending(
        self, tenant: str, login: str, reason: RevocationReason, mark: Mark, changes: UserChanges | None = None
    ) -> Ending:
        """Durably decides, in one update with its cause, that all sessions of the user until now end.

        The cause is `changes`, or the user's deletion when the reason is `USER_DELETED`: from here on `find` does not
        find it. If the same request has decided before, that decision is the answer, finished or not, and also when
        the user was deleted since. Raises `UserNotFound`.
        """

    async def finish_ending(self, ending: Ending) -> None:
        """The sessions have ended: forgets the decision, and the user if it was to be deleted, but not their marks."""

    async def unfinished_endings(self, older_than: datetime, limit: int) -> Sequence[Ending]:
        """Decisions that somebody made before and did not finish."""

    async def remove_all(self, tenant: str) -> None:
        """Removes all users of a tenant that is being deleted, and whose sessions have ended."""


class Sessions(Protocol):
    async def add(self, session: Session) -> Session:
        """Stores it durably. If the tenant already has one of the same `opened_by`, that one is the answer."""

    async def find(self, ids: Sequence[str]) -> dict[str, Session]:
        """Those of these sessions that exist, in one query. Sees every acknowledged write."""

    async def live_of_user(self, user: User, now: datetime, limit: int) -> Sequence[Session]:
        """Of the user's generation, neither revoked nor expired; the newest `limit` of them, newest first."""

    async def revoke(self, session: Session, revocation: Revocation) -> Session | None:
        """Ends it durably and notes, in the same update, that this has to be announced.

        None when it had ended before: only one caller gets the session, and with it the duty to announce.
        """

    async def revoke_older(self, ending: Ending, now: datetime, limit: int) -> Sequence[Session]:
        """Ends, as `revoke` does, every session of the user from before the ending's generation.

        Answers up to `limit` of those still to be announced, whoever revoked them; the rest is `unannounced`.
        """

    async def revoke_of_tenant(self, ending: TenantEnding, now: datetime, limit: int) -> Sequence[Session]:
        """Ends, as `revoke` does, the tenant's sessions from before the ending's generation: its own first, so that
        nobody can ask about the others, and then those of its users if the ending is theirs too.

        Answers up to `limit` of those still to be announced, whoever revoked them; the rest is `unannounced`.
        """

    async def surplus(self, session: Session, kept: int, now: datetime, limit: int) -> Sequence[Session]:
        """The live sessions of its user, of the same generation, but for the `kept` newest; up to `limit` of them.

        Newest first. Of those that began at the same time the greatest id is the newest, so that all count alike.
        """

    async def settled(self, session: Session) -> None:
        """What it displaces has ended."""

    async def unsettled(self, older_than: datetime, limit: int) -> Sequence[Session]:
        """Opened before then, and what they displace may still live."""

    async def unannounced(self, older_than: datetime, limit: int) -> Sequence[Session]:
        """Revoked before then, and still not announced."""

    async def unannounced_of(self, tenant: str, limit: int) -> Sequence[Session]:
        """The tenant's sessions, of its users and its own, that are still to be announced, the first revoked first."""

    async def announced_after(self, tenant: str, at: datetime, session_id: str, limit: int) -> Sequence[Session]:
        """The tenant's sessions, of its users and its own, that were announced later, or then with a greater id.

        Up to `limit` in order of time and id; fewer only if there are no more.
        """

    async def announced(self, session: Session, at: datetime) -> None:
        """Its event has reached the broker by then: nothing is left to do, and from now on it is listed."""


class Attempts(Protocol):
    """Counts of attempts to log in, by key, shared by all workers. A crash of the database may lose the last ones."""

    async def find(self, keys: Sequence[str]) -> dict[str, Count]:
        """Those that there are, in one query."""

    async def count(self, key: str, seen: Count | None, limit: Limit, now: datetime) -> bool:
        """Counts one more, under way from now on. `seen` is what `find` has found.

        Any number at once are counted while they are free; of those that had to wait, only the first: False, and
        nothing is counted, if somebody else was counted since.
        """

    async def failed(self, key: str) -> None:
        """One that was under way was wrong: it stays counted."""

    async def take_back(self, key: str) -> None:
        """One that was under way is not counted any more."""

    async def keep(self, key: str, now: datetime, until: datetime) -> None:
        """From now on nothing is counted; the key is kept until then, so that it is found."""

    async def forget(self, key: str) -> None:
        """As if it had never been counted."""


class Audit(Protocol):
    """What was done with a tenant's accounts, and tried: for the tenant to read, and for nobody else."""

    async def append(self, record: AuditRecord) -> None:
        """Stores it durably; if there is one of this id, that stays as it is."""

    def attempted(self, record: AuditRecord) -> None:
        """Notes what was refused; written soon, together with others. Of one id there is one record, which counts
        them. Never raises, never waits."""

    async def page(self, query: AuditQuery, limit: int) -> Sequence[AuditRecord]:
        """Up to `limit` of the records asked for, the newest first."""


class Hasher(Protocol):
    """Password hashing off the event loop, as many at a time as there are cores for it.

    Passwords come in the one form that the contracts give them.
    """

    async def hash(self, password: str) -> str: ...

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether it is the password. With no hash the answer is no, after the same work."""

    def is_stale(self, password_hash: str) -> bool:
        """Whether it was made with other parameters than those of today, or under another pepper."""


class Tokens(Protocol):
    """JWTs. The key of each is derived from a master key and its session's secret."""

    @property
    def issuer(self) -> str: ...

    @property
    def signing_key_id(self) -> str:
        """Names the master key that new sessions are made under."""

    def sign(self, session: Session, claims: Claims) -> str: ...

    def session_id(self, token: str) -> str | None:
        """Which session a token claims to belong to; None if it is none of ours. Nothing is proven yet."""

    def verify(self, token: str, session: Session, now: datetime) -> Claims:
        """The claims of a token of this session. Raises `InvalidToken`."""


class Events(Protocol):
    def announce(self, session: Session) -> None:
        """Tells subscribers of a revocation, in the background and at least once. Never raises, never waits."""


class Activity(Protocol):
    def seen(self, user: str, at: datetime) -> None:
        """Notes that a user was active; written later, together with others. Never raises, never waits."""


class Database(Protocol):
    async def ping(self) -> bool:
        """Whether it answers, within a second or so."""


class Clock(Protocol):
    def now(self) -> datetime: ...


class Registration(Protocol):
    def allows(self, key: str | None, address: str | None) -> bool:
        """Whether a tenant may register with this key, or from this address."""

    def is_key(self, key: str) -> bool:
        """Whether it is the registration key. Never, if there is none."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long sessions last, unless they are revoked."""

    tenant: timedelta
    user: timedelta


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything an operation may use."""

    tenants: Tenants
    users: Users
    sessions: Sessions
    attempts: Attempts
    audit: Audit
    hasher: Hasher
    tokens: Tokens
    events: Events
    activity: Activity
    database: Database
    clock: Clock
    registration: Registration
    common_passwords: AbstractSet[str]
    """What nobody may choose, in lower case. Only who serves the password lane has it."""
    lifetimes: Lifetimes
    throttle: Throttle
    max_sessions_per_user: int = 0
    """0: any number."""


@dataclass(slots=True)
class Noted:
    """What an operation has proven about who asks for it, and what it did, for the audit trail."""

    tenant: str | None = None
    """Whose trail it belongs into."""
    login: str | None = None
    """Which account it is about, where the request does not say."""
    session: str | None = None
    """Which one began or ended, where the request does not say."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of a request besides its body. A request sent or delivered twice keeps its message id."""

    message_id: str
    redelivered: bool = False
    """Says the broker, and no caller can: another worker has had it before."""
    request_id: str | None = None
    """Finds it in the logs."""
    noted: Noted = field(default_factory=Noted, compare=False)
