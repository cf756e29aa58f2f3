"""The limit of sessions under concurrent logins at several workers, with fake and real stores."""

import asyncio
import uuid
from collections.abc import Sequence

import pytest

from shared.contracts.auth_login import AUTH_LOGIN, AuthLoginReply, AuthLoginRequest
from shared.contracts.events import RevocationReason
from tests import fakes
from tests.records import a_tenant, a_user
from worker.adapters.mongo_sessions import MongoSessions
from worker.adapters.mongo_users import MongoUsers
from worker.domain.call import Call
from worker.domain.ports import Ports, Sessions, Users
from worker.domain.session_opening import open_tenant_session
from worker.operations import HANDLERS

LOGINS = 50
WORKERS = 5
PASSWORD = "correct horse battery staple"


@pytest.fixture(params=["fake", "mongo"])
def stores(request: pytest.FixtureRequest) -> tuple[Users, Sessions]:
    if request.param == "fake":
        return fakes.FakeUsers(), fakes.FakeSessions()
    database = request.getfixturevalue("mongo_database")
    return MongoUsers(database), MongoSessions(database)


@pytest.mark.parametrize("limit", [1, 3])
async def test_concurrent_logins_leave_the_newest_sessions_up_to_the_limit(
    stores: tuple[Users, Sessions], limit: int
) -> None:
    """Every other session is revoked and announced at least once."""
    users, sessions = stores
    tenants, tenant = fakes.FakeTenants(), a_tenant(id=uuid.uuid4().hex)
    events, hasher, clock = fakes.FakeEvents(), fakes.FakeHasher(), fakes.FakeClock()
    workers: Sequence[Ports] = [
        fakes.ports(
            tenants=tenants,
            users=users,
            sessions=sessions,
            hasher=hasher,
            events=events,
            clock=clock,
            max_sessions_per_user=limit,
        )
        for _ in range(WORKERS)
    ]
    await tenants.add(tenant)
    token = await open_tenant_session(tenant, Call("shop"), workers[0])
    ann = await users.add(a_user(tenant=tenant.id, login="ann", password_hash=await hasher.hash(PASSWORD)))

    async def login(number: int) -> str:
        request = AuthLoginRequest(tenant_token=token, login="ann", password=PASSWORD, device_id=f"{number}")
        reply = await HANDLERS[AUTH_LOGIN.name](request, Call(f"message-{number}"), workers[number % WORKERS])
        assert isinstance(reply, AuthLoginReply)
        return workers[0].tokens.session_id(reply.access_token) or ""

    opened = await asyncio.gather(*(login(number) for number in range(LOGINS)))
    assert len(set(opened)) == LOGINS
    live = await sessions.live_of_user(ann, clock.now(), LOGINS)
    # All sessions have the same time: then the greatest ids are the newest.
    assert sorted(session.id for session in live) == sorted(opened)[-limit:]
    revoked = set(opened) - {session.id for session in live}
    assert events.reasons == dict.fromkeys(revoked, RevocationReason.SESSION_LIMIT)
    assert await sessions.tenants_enforcing_limit(clock.now().replace(year=9000)) == []
