"""The records that pass between operations and adapters: accounts, sessions, what was decided, the audit trail.

All datetimes are aware and UTC.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

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

    `created_by` names the request that made it, as marks do; no request has made an imported one.
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
    """When its event had reached the broker, or a subscriber's queue had first refused it; None before that."""
    by: str | None = None
    """The mark of the request that ended this one session; None when it ended together with others."""
    refusals: int = 0
    """How often a subscriber's queue has refused its event."""


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


#: Why a tenant's sessions end together with those of its users.
CLOSING = frozenset({RevocationReason.TENANT_DISABLED, RevocationReason.TENANT_DELETED})


@dataclass(frozen=True, slots=True)
class TenantEnding:
    """The decision, stored with the tenant, that its sessions from before `generation` end; as `Ending` for a user."""

    tenant: str
    generation: int
    reason: RevocationReason
    users_before: int = 0
    """Sessions of its users end too that are from before this generation of the tenant; 0: none.

    Those of the generation's own decision, or of one that nobody had finished when another took its place.
    """

    @classmethod
    def after(
        cls, tenant: str, generation: int, reason: RevocationReason, unfinished: "TenantEnding | None"
    ) -> "TenantEnding":
        """What is decided next about a tenant of this generation; it takes the place of what is unfinished."""
        of_users = generation + 1 if reason in CLOSING else unfinished.users_before if unfinished else 0
        return cls(tenant, generation + 1, reason, of_users)

    @property
    def users_reason(self) -> RevocationReason:
        """Why sessions of users end: a deletion is the last decision, so what was unfinished disabled the tenant."""
        return self.reason if self.reason in CLOSING else RevocationReason.TENANT_DISABLED


@dataclass(frozen=True, slots=True)
class UserChanges:
    """New values for some of a user's attributes; only what is in `fields` is written."""

    fields: dict[str, Any] = field(default_factory=dict)
    password_hash: str | None = field(default=None, repr=False)


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
    service: str | None = None
    """Of the broker, that sent the request; None: an edge."""
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
    logins: AbstractSet[str]
    """Any of these spellings; none: of all."""
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
