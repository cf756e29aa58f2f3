"""tenant.logout"""

import pytest

from shared.contracts.errors import InvalidToken
from shared.contracts.events import RevocationReason
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.tenant_logout import TENANT_LOGOUT
from shared.contracts.tenant_verify import TENANT_VERIFY
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker


async def test_logout_ends_the_session_and_says_so(worker: InMemoryWorker, shop: str) -> None:
    """The session is revoked as logged out, and announced once."""
    assert (await worker.call(TENANT_LOGOUT, token=shop)).result == 1
    session = await worker.session_of(shop)
    assert worker.events.announced == [session]
    assert worker.events.reasons == {session.id: RevocationReason.LOGOUT}


async def test_logout_ends_one_session(worker: InMemoryWorker, shop: str) -> None:
    """The tenant's other sessions live on."""
    other = (await worker.call(TENANT_LOGIN, email="shop@example.com", password=PASSWORD)).token
    await worker.call(TENANT_LOGOUT, token=shop)
    await worker.call(TENANT_VERIFY, token=other)


@pytest.mark.usefixtures("ann")
async def test_users_stay_logged_in(worker: InMemoryWorker, shop: str) -> None:
    """The sessions of a tenant's users do not end with its own."""
    user_token = await worker.login(shop)
    other = (await worker.call(TENANT_LOGIN, email="shop@example.com", password=PASSWORD)).token
    await worker.call(TENANT_LOGOUT, token=shop)
    assert (await worker.verify(other, user_token)).login == "ann"


async def test_logout_of_a_dead_token(worker: InMemoryWorker, shop: str) -> None:
    """A token is logged out once, and announced once."""
    await worker.call(TENANT_LOGOUT, token=shop)
    with pytest.raises(InvalidToken):
        await worker.call(TENANT_LOGOUT, token=shop)
    assert len(worker.events.announced) == 1


@pytest.mark.usefixtures("ann")
async def test_a_user_token_is_not_logged_out_here(worker: InMemoryWorker, shop: str) -> None:
    """A user token is refused where a tenant token belongs, and stays alive."""
    token = await worker.login(shop)
    with pytest.raises(InvalidToken):
        await worker.call(TENANT_LOGOUT, token=token)
    await worker.verify(shop, token)
