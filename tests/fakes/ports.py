"""The ports of a worker: fakes, unless a test passes a port of its own."""

from collections.abc import Set as AbstractSet

from shared.contracts.wire import MIN_PASSWORD_CHARS
from tests.fakes.activity import FakeActivity
from tests.fakes.attempts import FakeAttempts
from tests.fakes.audit import FakeAudit
from tests.fakes.clock import FakeClock
from tests.fakes.database import FakeDatabase
from tests.fakes.events import FakeEvents
from tests.fakes.hasher import FakeHasher
from tests.fakes.registration import FakeRegistration
from tests.fakes.sessions import FakeSessions
from tests.fakes.sweep_leases import FakeSweepLeases
from tests.fakes.tenants import FakeTenants
from tests.fakes.turns import FakeTurns
from tests.fakes.users import FakeUsers
from tests.fakes.values import COMMON_PASSWORDS, ISSUER, LIFETIMES, MASTER_KEYS, THROTTLE
from worker.adapters.jwt_tokens import JwtTokens
from worker.domain.attempts import Throttle
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
    SweepLeases,
    Tenants,
    Tokens,
    Turns,
    Users,
)


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
    sweep_leases: SweepLeases | None = None,
    database: Database | None = None,
    clock: Clock | None = None,
    registration: Registration | None = None,
    common_passwords: AbstractSet[str] = COMMON_PASSWORDS,
    lifetimes: Lifetimes = LIFETIMES,
    throttle: Throttle = THROTTLE,
    min_password_chars: int = MIN_PASSWORD_CHARS,
    max_sessions_per_user: int = 0,
    operator_tenant: str | None = None,
) -> Ports:
    """Build the ports of a worker from the arguments, with fakes for the rest. The tokens are real JWTs."""
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
        sweep_leases=sweep_leases or FakeSweepLeases(),
        database=database or FakeDatabase(),
        clock=clock or FakeClock(),
        registration=registration or FakeRegistration(),
        common_passwords=common_passwords,
        lifetimes=lifetimes,
        throttle=throttle,
        min_password_chars=min_password_chars,
        max_sessions_per_user=max_sessions_per_user,
        operator_tenant=operator_tenant,
    )
