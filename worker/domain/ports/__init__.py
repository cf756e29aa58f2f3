"""The ports: what operations need from the outside world, as protocols.

Adapters in `worker.adapters` implement them on MongoDB, argon2, JWT and AMQP; the tests use
in-memory fakes. Adapters and fakes pass the same contract suites. All datetimes are aware and UTC.
Import every port from this package.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import timedelta

from shared.contracts.wire import MIN_PASSWORD_CHARS
from worker.domain.attempts import Throttle
from worker.domain.key_guesses import KeyGuesses
from worker.domain.ports.accounts import Tenants, Users
from worker.domain.ports.passwords import BEYOND_THREADS, Attempts, Hasher, Registration, Turns
from worker.domain.ports.service import Audit, Clock, Database, SweepLeases
from worker.domain.ports.sessions import Activity, Events, Sessions, Tokens

__all__ = [
    "BEYOND_THREADS",
    "Activity",
    "Attempts",
    "Audit",
    "Clock",
    "Database",
    "Events",
    "Hasher",
    "Lifetimes",
    "Ports",
    "Registration",
    "Sessions",
    "SweepLeases",
    "Tenants",
    "Tokens",
    "Turns",
    "Users",
]


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long sessions last unless they are revoked, and how long an access token is valid."""

    tenant: timedelta
    user: timedelta
    access_token: timedelta
    operator: timedelta


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
    sweep_leases: SweepLeases
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
    operator_tenant: str | None = None
    """The id of the tenant whose users may be operators. None: there are no operators."""
    key_guesses: KeyGuesses = field(default_factory=KeyGuesses)
