"""The records that pass between operations and adapters: accounts, sessions, API keys and revocation decisions.

All datetimes are aware and UTC.
"""

import hmac
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from shared.contracts.events import RevocationReason, SessionRevoked, SessionRevokedEvent
from shared.contracts.permissions import Permission
from shared.contracts.settings import TenantSettings

#: The settings of a tenant that has changed none.
NO_SETTINGS = TenantSettings()
#: Codes of one reset. A request that is delivered more often than this voids its first ones.
MAX_RESET_CODES = 4


@dataclass(frozen=True, slots=True)
class StoredCounts:
    """How many users and live user sessions a tenant had at a time. Only of tenants with too many to count for a
    reply."""

    users: int
    sessions: int
    at: datetime


@dataclass(frozen=True, slots=True)
class StoredReset:
    """A request of an operator to reset the tenant's password. Its code works once.

    It is bound to the tenant's generation, so any decision about the tenant voids it, such as a new password.
    """

    idempotency_key: str
    """The idempotency key of the request. Each of its deliveries made a code, since only the digests are stored."""
    generation: int
    expires_at: datetime
    digests: tuple[bytes, ...] = field(repr=False)
    """SHA-256 of each code, which holds 192 random bits, so that no slow hash is needed."""

    def has_live(self, digest: bytes, generation: int, now: datetime) -> bool:
        """Return whether this is the digest of a code that works now, for a tenant at this generation."""
        if generation != self.generation or now >= self.expires_at:
            return False
        # Not `any`, which stops at the first match: all are compared, each in constant time.
        return sum(hmac.compare_digest(digest, each) for each in self.digests) > 0


@dataclass(frozen=True, slots=True)
class StoredTenant:
    """A service or product that owns users.

    `generation` grows with each decision to revoke the tenant's sessions. Each session of the
    tenant and of its users stores the generation in which it was created, so a decision revokes
    exactly the older ones.
    """

    id: str
    email: str
    password_hash: str = field(repr=False)
    registered_at: datetime
    idempotency_key: str
    """The message id of the request that registered the tenant."""
    generation: int = 0
    disabled: bool = False
    settings: TenantSettings = NO_SETTINGS
    counts: StoredCounts | None = None
    """Figures of the last time that a worker counted all. None: never, since nobody asked or the tenant is small."""
    reset: StoredReset | None = None

    @property
    def login(self) -> str:
        return f"tenant:{self.email}"


@dataclass(frozen=True, slots=True)
class StoredUser:
    """A user account of a tenant.

    `generation` grows with each decision to revoke all sessions of the user. Each session stores
    the generation in which it was created.
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
    idempotency_key: str
    """The idempotency key of the request that created the user; a constant for imported users."""
    generation: int = 0
    operator_permissions: frozenset[Permission] = frozenset()
    """The permissions of the user as an operator. Only operators and the bootstrap command write them."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """The revocation of one session: it ended before it expired."""

    at: datetime
    reason: RevocationReason
    announced_at: datetime | None = None
    """When the event reached the broker or was first refused by a subscriber's queue. None before that."""
    idempotency_key: str | None = None
    """The idempotency key of the request that revoked this session. None if it was revoked together with others."""
    refusals: int = 0
    """How many times a subscriber's queue has refused the event."""


@dataclass(frozen=True, slots=True)
class KeySecret:
    """One secret of an API key. A key has several while a new one replaces the others."""

    digest: bytes = field(repr=False)
    """SHA-256 of the whole API key, which holds 256 random bits, so that no slow hash is needed."""
    idempotency_key: str
    """The idempotency key of the request that made it."""
    expires_at: datetime | None = None
    """When another secret has replaced it for good. None: it is valid as long as its key."""

    def is_live(self, now: datetime) -> bool:
        return self.expires_at is None or now < self.expires_at


@dataclass(frozen=True, slots=True)
class StoredKey:
    """The part of a session of the tenant that makes it an API key. The key has the id of the session."""

    name: str
    permissions: frozenset[Permission]
    secrets: tuple[KeySecret, ...]
    """The newest first."""
    networks: tuple[str, ...] = ()
    """The networks that the key may be used from, in CIDR notation. Empty: everywhere."""
    created_by: str = ""
    """The actor that created the key, as the audit trail names it."""
    used_at: datetime | None = None
    """When the key was last used, to the minute. None: never."""
    lifetime: timedelta = timedelta(days=365)
    """How long the key is valid after its creation and after each rotation."""


#: When a revoked API key expires. Until then subscribers remember its revocation, and disconnected ones learn of it.
#: Longer than its access tokens and every cached answer last.
KEY_KEPT = timedelta(days=1)


class SessionKind(StrEnum):
    """The owner of a session, which determines its tokens. Each kind has a type of token of its own."""

    TENANT = "tenant"
    USER = "user"
    KEY = "key"
    """An API key: a session of the tenant without a token. Access tokens are signed in its name."""
    OPERATOR = "operator"
    """A session of a user as an operator of this installation."""


@dataclass(frozen=True, slots=True)
class StoredSession:
    """One login, or one API key. `secret` is part of the key of its tokens: without it no token can be made or
    verified."""

    id: str
    secret: bytes = field(repr=False)
    master_key_id: str
    tenant: str
    user: str | None
    """The id of the user. None: a session of the tenant itself."""
    login: str
    device_id: str | None
    issued_at: datetime
    expires_at: datetime
    idempotency_key: str
    """A digest of the login request, so that a login that is delivered twice creates one session."""
    generation: int = 0
    """The user's generation at the login."""
    tenant_generation: int = 0
    """The tenant's generation at the login; for a user session, that of the tenant session which requested it."""
    enforces_limit: bool = False
    """Whether older sessions of the user may still have to be revoked because of the session limit."""
    revocation: Revocation | None = None
    key: StoredKey | None = None
    """The API key, if the session is one."""
    is_operator: bool = False
    """Whether the user logged in as an operator of this installation."""

    @property
    def kind(self) -> SessionKind:
        if self.key is not None:
            return SessionKind.KEY
        if self.user is None:
            return SessionKind.TENANT
        return SessionKind.OPERATOR if self.is_operator else SessionKind.USER

    def revoked(self, revocation: Revocation) -> "StoredSession":
        """Return the session as revoked. A revoked API key expires soon: it may have been valid for years."""
        expires_at = self.expires_at if self.key is None else min(self.expires_at, revocation.at + KEY_KEPT)
        return replace(self, revocation=revocation, expires_at=expires_at)

    def revoked_event(self, source: str) -> SessionRevokedEvent:
        """Return the event that announces the revocation. It is the same each time. `source` is its issuer."""
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


#: How long idempotency keys are valid. A message may be redelivered until its deadline, ten minutes
#: at most; the rest allows for clock differences.
IDEMPOTENCY_WINDOW = timedelta(minutes=15)
#: Keys stored per user or tenant. More changes than this within the window are not expected of one
#: account.
MAX_IDEMPOTENCY_KEYS = 32


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """Identifies a request. It is stored with the change that the request makes, in the same update.

    So a retried or redelivered request finds its key, makes no second change, and gets its first
    result.
    """

    value: str
    """A digest of the message id, the operation and the payload without passwords."""
    at: datetime
    """When the worker handled the request."""

    @property
    def valid_after(self) -> datetime:
        """Stored keys that are not newer than this have expired: the same value then identifies another request."""
        return self.at - IDEMPOTENCY_WINDOW


@dataclass(frozen=True, slots=True)
class UserRevocation:
    """The decision, stored with the user, to revoke every session of the user older than `generation`.

    It is written in the same update as its cause (a new password, a deletion), before any session
    is revoked. Any worker can carry it out, any number of times. So after a crash the sweep
    completes the revocation.
    """

    tenant: str
    login: str
    user: str
    generation: int
    reason: RevocationReason


#: Reasons for which the sessions of a tenant's users are revoked together with the tenant's own.
CLOSING = frozenset({RevocationReason.TENANT_DISABLED, RevocationReason.TENANT_DELETED})


@dataclass(frozen=True, slots=True)
class TenantRevocation:
    """The decision, stored with the tenant, to revoke the tenant's sessions older than `generation`.

    Workers write it and carry it out like a `UserRevocation`.
    """

    tenant: str
    generation: int
    reason: RevocationReason
    users_before: int = 0
    """User sessions older than this tenant generation are revoked too. 0: none.

    The value may come from an earlier decision that was replaced by this one before it was
    finished.
    """
    keys_before: int = 0
    """API keys older than this tenant generation are revoked too. 0: none.

    It may come from an earlier decision, too.
    """

    @classmethod
    def after(
        cls,
        tenant: str,
        generation: int,
        reason: RevocationReason,
        unfinished: "TenantRevocation | None",
        *,
        with_users: bool = False,
        revoke_keys: bool = False,
    ) -> "TenantRevocation":
        """Return the next decision about a tenant of this generation. It replaces the unfinished one, if any."""
        is_closing = reason in CLOSING
        of_users = generation + 1 if is_closing or with_users else unfinished.users_before if unfinished else 0
        of_keys = generation + 1 if is_closing or revoke_keys else unfinished.keys_before if unfinished else 0
        return cls(tenant, generation + 1, reason, of_users, of_keys)

    @property
    def is_closing(self) -> bool:
        """Whether older sessions of the tenant admit no more logins of users and no more API keys."""
        return self.keys_before == self.generation

    @property
    def includes_users(self) -> bool:
        """Whether this decision, and not one that it replaced, revokes users' sessions."""
        return self.users_before == self.generation

    @property
    def users_reason(self) -> RevocationReason:
        """The reason in the events of users' sessions.

        The reason of a replaced decision is not stored. No decision follows a deletion, so it has usually disabled
        the tenant.
        """
        return self.reason if self.includes_users else RevocationReason.TENANT_DISABLED

    @property
    def keys_reason(self) -> RevocationReason:
        """The reason in the events of API keys."""
        return self.reason if self.is_closing or self.keys_before > self.users_before else self.users_reason


@dataclass(frozen=True, slots=True)
class UserChanges:
    """New values for some of a user's attributes. Attributes that are not in `fields` are not written."""

    fields: dict[str, Any] = field(default_factory=dict)
    password_hash: str | None = field(default=None, repr=False)
