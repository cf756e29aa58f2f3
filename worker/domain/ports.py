"""The ports: what operations need from the outside world, as protocols.

Adapters in `worker.adapters` implement them on MongoDB, argon2, JWT and AMQP; the tests use
in-memory fakes. Adapters and fakes pass the same contract suites. All datetimes are aware and UTC.
"""

from collections.abc import Collection, Sequence, Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from shared.contracts.claims import Claims
from shared.contracts.events import RevocationReason
from shared.contracts.wire import MIN_PASSWORD_CHARS
from worker.domain.attempts import AttemptCount, Limit, Throttle
from worker.domain.call import Call
from worker.domain.records import (
    AuditQuery,
    AuditRecord,
    IdempotencyKey,
    Revocation,
    Session,
    Tenant,
    TenantRevocation,
    User,
    UserChanges,
    UserRevocation,
)

#: Of one tenant are dealt with at a time: as many as are hashed, and these beyond. One is looked up and one is stored
#: meanwhile, or a hashing thread would wait for the database and the broker at each login.
BEYOND_THREADS = 2


class Tenants(Protocol):
    async def add(self, tenant: Tenant) -> None:
        """Store a new tenant durably.

        Raises `EmailTaken` if the email is in use, or if the same request stored a tenant that was
        deleted since.
        """

    async def find(self, tenant: str) -> Tenant | None:
        """Return the tenant with this id, disabled or not. None if it does not exist or is being deleted."""

    async def find_by_email(self, email: str) -> Tenant | None:
        """Return the tenant with this email, disabled or not. None if there is none or it is being deleted."""

    async def page(self, after: str, limit: int) -> Sequence[Tenant]:
        """Return up to `limit` tenants with an email greater than `after`, in order of email.

        Tenants that are being deleted are left out.
        """

    async def is_current(self, tenant: Tenant) -> bool:
        """Return whether the tenant is active and still at this generation. Active: neither disabled nor deleted."""

    async def admits(self, tenant: str, generation: int) -> bool:
        """Return whether users may log in through a tenant session of this generation.

        False if the tenant is disabled or being deleted, or was since that generation.
        """

    async def replace_hash(self, tenant: Tenant, password_hash: str) -> None:
        """Store a stronger hash of the same password, unless the password has changed since the tenant was read."""

    async def decide_revocation(
        self, tenant: str, reason: RevocationReason, key: IdempotencyKey, password_hash: str | None = None
    ) -> TenantRevocation:
        """Durably store the decision to revoke the tenant's sessions, together with its cause, in one update.

        The cause is a new password hash, or follows from the reason: the tenant is disabled or
        deleted. A deleted tenant is not found any more. If the same request decided before, that
        decision is returned, finished or not. Raises `TenantNotFound`.
        """

    async def find_decision(self, tenant: str, key: IdempotencyKey) -> TenantRevocation | None:
        """Return what this request decided about the tenant, even if it is finished and the tenant deleted."""

    async def find_decision_by_email(self, email: str, key: IdempotencyKey) -> TenantRevocation | None:
        """Return what this request decided about a tenant with this email.

        If that tenant is deleted, another tenant may have the email by now.
        """

    async def finish_revocation(self, decision: TenantRevocation) -> None:
        """Forget a decision whose sessions are all revoked.

        Removes the tenant if that was the decision, but keeps its idempotency keys.
        """

    async def unfinished_revocations(self, older_than: datetime, limit: int) -> Sequence[TenantRevocation]:
        """Return up to `limit` decisions that were made before `older_than` and are not finished."""

    async def enable(self, tenant: str, key: IdempotencyKey) -> None:
        """Enable a disabled tenant, once per request: a retry does not undo a later `tenant.disable`."""


class Users(Protocol):
    async def add(self, user: User) -> User:
        """Store a new user durably. If the same request stored a user before, return that user as it is now.

        Raises `LoginTaken` if another user of the tenant has the login, or if the same request
        stored a user that was deleted since.
        """

    async def add_new(self, users: Sequence[User]) -> AbstractSet[str]:
        """Durably store the users whose logins are free. Return the ids of the others, which are not stored.

        If this raises, some users may be stored. When it is repeated, their ids are among those
        returned.
        """

    async def find(self, tenant: str, login: str) -> User | None:
        """Return the user with this login, compared code point by code point. None if it is being deleted."""

    async def spelling(self, tenant: str, login: str, key: IdempotencyKey | None = None) -> str:
        """Return the login as stored: as given if an account has this exact spelling, in Unicode form NFC otherwise.

        `key` is the idempotency key of the request. If that request changed an account of this exact
        spelling, and the account was deleted since, the login is also returned as given. So a retry
        never reaches another account. An unknown login costs the same work.
        """

    async def spelled(self, tenant: str, logins: Collection[str]) -> AbstractSet[str]:
        """Return those of these logins that accounts have in exactly this spelling.

        Includes accounts that are being deleted.
        """

    async def is_current(self, user: User) -> bool:
        """Return whether the user is still at this generation and not being deleted. Sees every acknowledged write."""

    async def page(self, tenant: str, search: str, after: str, limit: int) -> Sequence[User]:
        """Return up to `limit` users with a login greater than `after`, in order of login.

        `search` matches a part of login or email, ignoring case. An empty string matches all.
        """

    async def logins(self, tenant: str, after: str, limit: int) -> Sequence[str]:
        """Return up to `limit` logins greater than `after`, in order, including users that are being deleted."""

    async def change(self, tenant: str, login: str, changes: UserChanges, key: IdempotencyKey) -> User:
        """Write attributes other than the password, and return the user as stored afterwards.

        If the same request wrote before, nothing is written, so later changes of other requests are
        kept. Raises `UserNotFound`, also if the changed user was deleted since and another user has
        the login.
        """

    async def replace_hash(self, user: User, password_hash: str) -> None:
        """Store a stronger hash of the same password, unless the password has changed since the user was read."""

    async def decide_revocation(
        self, tenant: str, login: str, reason: RevocationReason, key: IdempotencyKey, changes: UserChanges | None = None
    ) -> UserRevocation:
        """Durably store the decision to revoke all current sessions of the user, with its cause, in one update.

        The cause is `changes`, or the user's deletion if the reason is `USER_DELETED`; `find` does
        not find a deleted user. If the same request decided before, that decision is returned,
        finished or not, even if the user was deleted since. Raises `UserNotFound`.
        """

    async def finish_revocation(self, decision: UserRevocation) -> None:
        """Forget a decision whose sessions are all revoked.

        Removes the user if that was the decision, but keeps its idempotency keys.
        """

    async def tenants_with_unfinished_revocations(self, older_than: datetime) -> Sequence[str]:
        """Return the ids of the tenants for which `unfinished_revocations` returns decisions."""

    async def unfinished_revocations(self, tenant: str, older_than: datetime, limit: int) -> Sequence[UserRevocation]:
        """Return unfinished decisions about the tenant's users made before `older_than`, the oldest first."""

    async def remove_all(self, tenant: str) -> None:
        """Remove all users of a tenant that is being deleted and whose sessions are revoked."""


class Sessions(Protocol):
    async def add(self, session: Session) -> Session:
        """Store a session durably. If its user already has a session of the same idempotency key, return that one."""

    async def find(self, ids: Sequence[str]) -> dict[str, Session]:
        """Return the sessions with these ids, by id, in one query. Sees every acknowledged write."""

    async def live_of_user(self, user: User, now: datetime, limit: int) -> Sequence[Session]:
        """Return the newest `limit` live sessions of the user, newest first.

        Live: of the user's generation, neither revoked nor expired.
        """

    async def revoke(self, session: Session, revocation: Revocation) -> Session | None:
        """Revoke a session durably and record, in the same update, that its event has to be published.

        Returns None if the session was revoked before. So only one caller gets the session and has
        to announce it.
        """

    async def revoke_older(self, decision: UserRevocation, now: datetime, limit: int) -> Sequence[Session]:
        """Revoke every session of the user older than the decision's generation, in the way of `revoke`.

        Returns up to `limit` revoked sessions that are due to be announced, whichever request
        revoked them. The others are left to `unannounced`.
        """

    async def revoke_of_tenant(self, decision: TenantRevocation, now: datetime, limit: int) -> Sequence[Session]:
        """Revoke the tenant's sessions older than the decision's generation, in the way of `revoke`.

        The tenant's own sessions come first, so that no caller can use them while the users'
        sessions are revoked. The users' sessions follow if the decision includes them. Returns up to `limit`
        revoked sessions that are due to be announced, whichever request revoked them. The others
        are left to `unannounced`.
        """

    async def over_limit(self, session: Session, kept: int, now: datetime, limit: int) -> Sequence[Session]:
        """Return up to `limit` live sessions of the session's user and generation, without the `kept` newest.

        Newest first. Among sessions created at the same time the greatest id is the newest, so that
        all workers agree.
        """

    async def limit_enforced(self, session: Session) -> None:
        """Record that the session limit has been enforced for this session."""

    async def tenants_enforcing_limit(self, older_than: datetime) -> Sequence[str]:
        """Return the ids of the tenants for which `enforcing_limit` returns sessions."""

    async def enforcing_limit(self, tenant: str, older_than: datetime, limit: int) -> Sequence[Session]:
        """Return the tenant's sessions, oldest first, for which the session limit has not been enforced yet.

        Only sessions created before `older_than`.
        """

    async def tenants_unannounced(self, older_than: datetime) -> Sequence[str]:
        """Return the ids of the tenants for which `unannounced` returns sessions.

        The cost does not depend on the length of a tenant's backlog.
        """

    async def unannounced(self, tenant: str, older_than: datetime, limit: int) -> Sequence[Session]:
        """Return the tenant's sessions whose events were due before `older_than`, the longest due first.

        An event is due from the revocation on until it reaches the broker; after a refusal, from
        `retry_at` on.
        """

    async def unannounced_of(self, tenant: str, limit: int) -> Sequence[Session]:
        """Return the tenant's own and its users' sessions that are still to be announced and not yet listed, the
        longest due first. A refused event is listed."""

    async def announced_after(self, tenant: str, at: datetime, session_id: str, limit: int) -> Sequence[Session]:
        """Return sessions of the tenant and its users announced after `at`, or at `at` with an id above `session_id`.

        Up to `limit`, in order of time and id. Fewer than `limit` means that there are no more.
        """

    async def announced(self, session: Session, at: datetime) -> None:
        """Record that the session's event reached the broker by `at`. From now on `announced_after` returns it."""

    async def refused(self, session: Session, at: datetime, retry_at: datetime | None) -> bool:
        """Record that a subscriber's queue refused the event, or that the broker did not confirm it in time.

        The event is due again at `retry_at`; None: never.

        From the first refusal on `announced_after` returns the session, since other queues may have
        taken the event. Returns False, and changes nothing, if another refusal was recorded since
        the session was read, or if the event has reached the broker.
        """


class Attempts(Protocol):
    """Counts of login attempts by key, shared by all workers. A crash of the database may lose the latest attempts."""

    async def find(self, keys: Sequence[str]) -> dict[str, AttemptCount]:
        """Return the counts that exist under these keys, in one query."""

    async def count(self, key: str, seen: AttemptCount | None, limit: Limit, now: datetime) -> bool:
        """Count one more attempt, which is in flight from now on. `seen` is the count that `find` returned.

        Undelayed attempts are counted concurrently. Among delayed attempts only the first is counted.
        Returns False, and counts nothing, if another attempt was counted since `seen` was read.
        """

    async def failed(self, key: str) -> None:
        """End an attempt in flight as wrong. It stays counted."""

    async def take_back(self, key: str) -> None:
        """End an attempt in flight and remove it from the count."""

    async def keep(self, key: str, now: datetime, until: datetime) -> None:
        """Reset the count to zero and keep its key until `until`, so that `find` returns it."""

    async def forget(self, *keys: str) -> None:
        """Remove the counts, in one write."""


class Audit(Protocol):
    """The audit trails of tenants: what was done or tried with a tenant's accounts. Only that tenant may read them."""

    async def append(self, record: AuditRecord) -> None:
        """Store a record durably. An existing record with the same id is kept unchanged."""

    def attempted(self, record: AuditRecord) -> None:
        """Queue the record of a refused attempt, to be written in a batch soon. Never raises, never waits.

        Attempts with the same id share one record, which counts them.
        """

    async def page(self, query: AuditQuery, limit: int) -> Sequence[AuditRecord]:
        """Return up to `limit` records that match the query, the newest first."""


class Hasher(Protocol):
    """Password hashing outside the event loop, limited to the configured number of threads.

    Passwords are passed in the normalised form that the contracts produce.
    """

    async def hash(self, password: str) -> str: ...

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Return whether the hash is of this password. Without a hash: False, after the same work."""

    def is_stale(self, password_hash: str) -> bool:
        """Return whether the hash was made with other parameters, or under another pepper, than new hashes are."""


class Turns(Protocol):
    """Fair turns for requests that hash passwords: no tenant's requests delay those of all others.

    Requests wait in groups. A group is a tenant, or the callers that have not proven a tenant.
    """

    async def enter(self, group: str, call: Call) -> None:
        """Wait for the request's turn in its group, before anything is hashed or written. A request enters once.

        Raises `Overloaded` at once if too many requests of the group wait, and `DeadlineExceeded`
        if the deadline passes meanwhile. The first hash of the request may raise `DeadlineExceeded`
        as well.
        """

    def leave(self) -> None:
        """End the turn of the request that entered in this task. Does nothing if none entered."""


class Tokens(Protocol):
    """JWTs. The key of each token is derived from a master key and its session's secret."""

    @property
    def issuer(self) -> str: ...

    @property
    def signing_key_id(self) -> str:
        """The id of the master key for new sessions."""

    def sign(self, session: Session, claims: Claims) -> str: ...

    def session_id(self, token: str) -> str | None:
        """Return the id of the session that the token claims, unverified. None if it is not a token of ours."""

    def verify(self, token: str, session: Session, now: datetime) -> Claims:
        """Return the verified claims of a token of this session. Raises `InvalidToken`."""


class Events(Protocol):
    def announce(self, session: Session) -> None:
        """Publish the revocation of a session in the background, at least once. Never raises, never waits."""


class Activity(Protocol):
    def seen(self, user: str, at: datetime) -> None:
        """Queue the time of a user's activity, to be written in a batch. Never raises, never waits."""


class Database(Protocol):
    async def ping(self) -> bool:
        """Return whether the database replies within about a second."""


class Clock(Protocol):
    def now(self) -> datetime: ...


class Registration(Protocol):
    @property
    def has_key(self) -> bool:
        """Whether there is a registration key."""

    def admits(self, address: str | None) -> bool:
        """Return whether a client at this address may register a tenant without the registration key."""

    def is_key(self, key: str) -> bool:
        """Return whether this is the registration key. False if none is configured."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long sessions last unless they are revoked."""

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
    """Passwords that the password policy refuses, in lower case. Empty in workers without the password lane."""
    lifetimes: Lifetimes
    throttle: Throttle
    min_password_chars: int = MIN_PASSWORD_CHARS
    """The minimum length of a new password, in its normalised form."""
    max_sessions_per_user: int = 0
    """0: no limit."""
