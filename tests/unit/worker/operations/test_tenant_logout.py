"""tenant.logout"""

import pytest

from shared.contracts.errors import InvalidToken
from shared.contracts.events import RevocationReason
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.tenant_logout import TENANT_LOGOUT
from shared.contracts.tenant_verify import TENANT_VERIFY
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker


async def test_tenant_logout_revokes_and_announces_its_session(worker: InMemoryWorker, shop: str) -> None:
    assert (await worker.call(TENANT_LOGOUT, token=shop)).result == 1
    session = await worker.session_of(shop)
    assert worker.events.announced == [session]
    assert worker.events.reasons == {session.id: RevocationReason.LOGOUT}


async def test_tenant_logout_keeps_the_tenants_other_sessions(worker: InMemoryWorker, shop: str) -> None:
    other = (await worker.call(TENANT_LOGIN, email="shop@example.com", password=PASSWORD)).token
    await worker.call(TENANT_LOGOUT, token=shop)
    await worker.call(TENANT_VERIFY, token=other)


@pytest.mark.usefixtures("ann")
async def test_tenant_logout_keeps_the_sessions_of_users(worker: InMemoryWorker, shop: str) -> None:
    user_token = await worker.login(shop)
    other = (await worker.call(TENANT_LOGIN, email="shop@example.com", password=PASSWORD)).token
    await worker.call(TENANT_LOGOUT, token=shop)
    assert (await worker.verify(other, user_token)).login == "ann"


async def test_second_tenant_logout_is_refused(worker: InMemoryWorker, shop: str) -> None:
    """The revocation is announced once."""
    await worker.call(TENANT_LOGOUT, token=shop)
    with pytest.raises(InvalidToken):
        await worker.call(TENANT_LOGOUT, token=shop)
    assert len(worker.events.announced) == 1


@pytest.mark.usefixtures("ann")
async def test_tenant_logout_with_a_user_token_is_refused(worker: InMemoryWorker, shop: str) -> None:
    """The user token stays valid."""
    token = await worker.login(shop)
    with pytest.raises(InvalidToken):
        await worker.call(TENANT_LOGOUT, token=token)
    await worker.verify(shop, token)
