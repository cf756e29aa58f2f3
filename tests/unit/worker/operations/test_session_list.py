"""session.list"""

from datetime import timedelta

import pytest

from shared.contracts.auth_logout import AUTH_LOGOUT
from shared.contracts.errors import UserNotFound
from shared.contracts.session_list import SESSION_LIST
from tests.fakes import LIFETIMES, NOW
from tests.unit.worker.in_memory import InMemoryWorker


@pytest.mark.usefixtures("ann")
async def test_live_sessions_are_listed_newest_first(worker: InMemoryWorker, shop: str) -> None:
    """Each has its id, device and dates in milliseconds, without the secret."""
    first = await worker.login(shop, deviceId="phone")
    worker.clock.advance(timedelta(seconds=1))
    second = await worker.login(shop, deviceId="laptop")
    milliseconds, lifetime = int(NOW.timestamp()) * 1000, int(LIFETIMES.user.total_seconds()) * 1000
    reply = await worker.call(SESSION_LIST, tenantToken=shop, login="ann")
    assert reply.model_dump()["sessions"] == (
        {
            "id": (await worker.session_of(second)).id,
            "deviceId": "laptop",
            "issuedDate": milliseconds + 1000,
            "expirationDate": milliseconds + 1000 + lifetime,
        },
        {
            "id": (await worker.session_of(first)).id,
            "deviceId": "phone",
            "issuedDate": milliseconds,
            "expirationDate": milliseconds + lifetime,
        },
    )


@pytest.mark.usefixtures("ann")
async def test_revoked_and_expired_sessions_are_not_listed(worker: InMemoryWorker, shop: str) -> None:
    await worker.login(shop)
    worker.clock.advance(timedelta(seconds=1))
    out, live = await worker.login(shop), await worker.login(shop)
    await worker.call(AUTH_LOGOUT, tenantToken=shop, token=out)
    worker.clock.advance(LIFETIMES.user - timedelta(seconds=1))
    reply = await worker.call(SESSION_LIST, tenantToken=shop, login="ann")
    assert [session.id for session in reply.sessions] == [(await worker.session_of(live)).id]


@pytest.mark.usefixtures("ann")
async def test_sessions_of_other_users_are_not_listed(worker: InMemoryWorker, shop: str) -> None:
    await worker.create(shop, "bob")
    bank = await worker.register("bank@example.com")
    await worker.create(bank, "ann")
    await worker.login(shop, "bob")
    await worker.login(bank, "ann")
    assert (await worker.call(SESSION_LIST, tenantToken=shop, login="ann")).sessions == ()


async def test_list_of_an_unknown_user_is_refused(worker: InMemoryWorker, shop: str) -> None:
    """The empty list of an existing user is different."""
    with pytest.raises(UserNotFound):
        await worker.call(SESSION_LIST, tenantToken=shop, login="nobody")
