"""Fakes of the worker's ports, kept in memory. `tests/contract` runs one suite against each fake and its adapter."""

from tests.fakes.activity import FakeActivity
from tests.fakes.attempts import FakeAttempts
from tests.fakes.audit import FakeAudit
from tests.fakes.clock import FakeClock
from tests.fakes.database import FakeDatabase
from tests.fakes.events import FakeEvents
from tests.fakes.hasher import FakeHasher
from tests.fakes.ports import ports
from tests.fakes.registration import FakeRegistration
from tests.fakes.sessions import FakeSessions
from tests.fakes.sweep_leases import FakeSweepLeases
from tests.fakes.tenants import FakeTenants
from tests.fakes.turns import FakeTurns
from tests.fakes.users import FakeUsers
from tests.fakes.values import (
    COMMON_PASSWORDS,
    ISSUER,
    LIFETIMES,
    LIMIT,
    MASTER_KEYS,
    NOW,
    REGISTRATION_KEY,
    STRANGERS,
    THROTTLE,
)

__all__ = [
    "COMMON_PASSWORDS",
    "ISSUER",
    "LIFETIMES",
    "LIMIT",
    "MASTER_KEYS",
    "NOW",
    "REGISTRATION_KEY",
    "STRANGERS",
    "THROTTLE",
    "FakeActivity",
    "FakeAttempts",
    "FakeAudit",
    "FakeClock",
    "FakeDatabase",
    "FakeEvents",
    "FakeHasher",
    "FakeRegistration",
    "FakeSessions",
    "FakeSweepLeases",
    "FakeTenants",
    "FakeTurns",
    "FakeUsers",
    "ports",
]
