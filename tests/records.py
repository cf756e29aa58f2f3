"""Records of `worker.ports` for tests: valid, each different from all others, and as a test wants them otherwise."""

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.fakes import NOW
from worker.ports import Session, Tenant, User

_NUMBERS = itertools.count(1)


def a_tenant(**changes: Any) -> Tenant:
    """A tenant with these attributes."""
    number = next(_NUMBERS)
    tenant = Tenant(
        id=f"tenant-{number}",
        email=f"tenant-{number}@example.com",
        password_hash=f"hash-{number}",
        registered_at=NOW,
        created_by=f"message-{number}",
    )
    return replace(tenant, **changes)


def a_user(**changes: Any) -> User:
    """A user of the tenant `shop`, with these attributes."""
    number = next(_NUMBERS)
    user = User(
        id=f"user-{number}",
        tenant="shop",
        login=f"login-{number}",
        email=f"user-{number}@example.com",
        sub=f"sub-{number}",
        scope={"number": number},
        password_hash=f"hash-{number}",
        registered_at=NOW,
        last_active_at=NOW,
        created_by=f"message-{number}",
    )
    return replace(user, **changes)


def a_session(**changes: Any) -> Session:
    """A session of the user `ann` of the tenant `shop`, with these attributes; it lasts a day."""
    number = next(_NUMBERS)
    session = Session(
        id=f"session-{number:0>24}",
        secret=number.to_bytes(32),
        master_key_id="test",
        tenant="shop",
        user="ann",
        login="ann@example.com",
        device_id=f"device-{number}",
        issued_at=NOW,
        expires_at=NOW + timedelta(days=1),
        opened_by=f"message-{number}",
    )
    return replace(session, **changes)
