"""What the operations need of the world, as protocols.

Adapters (`worker.adapters`) put them on MongoDB, argon2, JWT and AMQP; fakes put them in memory for the tests. Both
pass the same contract suites. All datetimes are aware and UTC.
"""

from collections.abc import Collection, Sequence, Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from shared.contracts.claims import Claims
from shared.contracts.events import RevocationReason
from shared.contracts.wire import MIN_PASSWORD_CHARS
from worker.domain.attempts import Count, Limit, Throttle
from worker.domain.call import Call
from worker.domain.records import (
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


class Tenants(Protocol):
    async def add(self, tenant: Tenant) -> None:
        """Stores it durably. Raises `EmailTaken`; also when the same request has stored one that was deleted since."""

    async def find(self, tenant: str) -> Tenant | None:
        """A tenant that is not being deleted, disabled or not."""

    async def find_by_email(self, email: str) -> Tenant | None:
        """As `find`."""

    async def page(self, after: str, limit: int) -> Sequence[Tenant]:
        """Up to `limit` tenants with an email greater than `after`, in order of email; none that is being deleted."""

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

    async def add_new(self, users: Sequence[User]) -> AbstractSet[str]:
        """Stores durably those whose login nobody has. The answer are the ids of the others, which are not stored.

        When it raises, some of them may be stored: again, those are among the others.
        """

    async def find(self, tenant: str, login: str) -> User | None:
        """A user that is not being deleted. The login is compared code point by code point."""

    async def spelling(self, tenant: str, login: str, mark: Mark | None = None) -> str:
        """Return the login as the account that it reaches spells it: as given if an account does, in NFC otherwise.

        With the mark of a request, also as given if the account that the request has changed did, and was deleted
        since. So what comes again never reaches another account. Costs the same if there is no account at all.
        """

    async def spelled(self, tenant: str, logins: Collection[str]) -> AbstractSet[str]:
        """Return those of these logins that accounts have in exactly this spelling, being deleted or not."""

    async def is_current(self, user: User) -> bool:
        """Whether it still is at this generation, and not being deleted. Sees every acknowledged write."""

    async def page(self, tenant: str, search: str, after: str, limit: int) -> Sequence[User]:
        """Up to `limit` users with a login greater than `after`, in order of login.

        `search` is part of login or email, in any case; empty matches all.
        """

    async def logins(self, tenant: str, after: str, limit: int) -> Sequence[str]:
        """Up to `limit` logins greater than `after`, in order, also of users that are being deleted."""

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

    async def tenants_unfinished(self, older_than: datetime) -> Sequence[str]:
        """The tenants that have `unfinished_endings`."""

    async def unfinished_endings(self, tenant: str, older_than: datetime, limit: int) -> Sequence[Ending]:
        """Decisions about the tenant's users that were made before then and not finished, the oldest first."""

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

        Returns up to `limit` of those that are to be announced now, whoever revoked them; the rest is `unannounced`.
        """

    async def revoke_of_tenant(self, ending: TenantEnding, now: datetime, limit: int) -> Sequence[Session]:
        """Ends, as `revoke` does, the tenant's sessions from before the ending's generation: its own first, so that
        nobody can ask about the others, and then those of its users if the ending is theirs too.

        Returns up to `limit` of those that are to be announced now, whoever revoked them; the rest is `unannounced`.
        """

    async def surplus(self, session: Session, kept: int, now: datetime, limit: int) -> Sequence[Session]:
        """The live sessions of its user, of the same generation, but for the `kept` newest; up to `limit` of them.

        Newest first. Of those that began at the same time the greatest id is the newest, so that all count alike.
        """

    async def settled(self, session: Session) -> None:
        """What it displaces has ended."""

    async def tenants_unsettled(self, older_than: datetime) -> Sequence[str]:
        """The tenants that have sessions that are `unsettled`."""

    async def unsettled(self, tenant: str, older_than: datetime, limit: int) -> Sequence[Session]:
        """The tenant's sessions that were opened before then, and what they displace may still live; oldest first."""

    async def tenants_unannounced(self, older_than: datetime) -> Sequence[str]:
        """The tenants that have sessions that are `unannounced`. A long backlog of one does not slow this down."""

    async def unannounced(self, tenant: str, older_than: datetime, limit: int) -> Sequence[Session]:
        """The tenant's sessions whose events were due before then and have not reached the broker; longest due first.

        An event is due from the revocation on, and again at the time that `refused` was given.
        """

    async def unannounced_of(self, tenant: str, limit: int) -> Sequence[Session]:
        """The tenant's sessions, of its users and its own, that are still to be announced; longest due first."""

    async def announced_after(self, tenant: str, at: datetime, session_id: str, limit: int) -> Sequence[Session]:
        """The tenant's sessions, of its users and its own, that were announced later, or then with a greater id.

        Up to `limit` in order of time and id; fewer only if there are no more.
        """

    async def announced(self, session: Session, at: datetime) -> None:
        """Its event has reached the broker by then: nothing is left to do, and from now on it is listed."""

    async def refused(self, session: Session, at: datetime, retry_at: datetime | None) -> bool:
        """A subscriber's queue has refused its event, or the broker has not confirmed it in time.

        It is due again at `retry_at`, or, if None, never.

        From the first refusal on it is listed, since other queues may have taken it. False, and nothing is changed, if
        another refusal was counted since the session was read, or its event has reached the broker.
        """


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


class Turns(Protocol):
    """Whose turn it is to have passwords hashed: no tenant's requests stand before those of all others."""

    def refuse_early(self, session: str | None) -> None:
        """Raises `Overloaded` when this session has entered before, and too many of the same tenant wait.

        `session` is what a request claims, and nothing is proven: so a storm is refused before that costs anything.
        """

    async def enter(self, whose: str, call: Call, session: str | None = None) -> None:
        """Waits for the turn of a request of this tenant, before anything is written for it or hashed.

        `session` is the tenant's own, proven, by which its next request is known early.

        Raises `Overloaded` at once when too many of the same tenant wait, and `DeadlineExceeded` when nobody waits for
        its answer any more; so does the first hash of a request. A request enters once.
        """

    def leave(self) -> None:
        """The request that has entered in this task is done; without one nothing happens."""


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
    def admits(self, address: str | None) -> bool:
        """Whether a tenant may register from this address, without the key."""

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
    turns: Turns
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
    min_password_chars: int = MIN_PASSWORD_CHARS
    """Of a password that is chosen, in its normalised form."""
    max_sessions_per_user: int = 0
    """0: any number."""
