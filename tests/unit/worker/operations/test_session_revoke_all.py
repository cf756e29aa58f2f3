"""session.revoke_all"""

import pytest

from shared.contracts.errors import InvalidToken, UserNotFound
from shared.contracts.events import RevocationReason
from shared.contracts.session_revoke_all import SESSION_REVOKE_ALL
from tests.unit.worker.in_memory import InMemoryWorker


@pytest.mark.usefixtures("ann")
async def test_every_session_of_the_user_is_revoked_and_announced(worker: InMemoryWorker, shop: str) -> None:
    """Sessions of other users and of the tenant stay live."""
    tokens = [await worker.login(shop) for _ in range(3)]
    await worker.create(shop, "bob")
    bystander = await worker.login(shop, "bob")
    assert (await worker.call(SESSION_REVOKE_ALL, tenantToken=shop, login="ann")).result == 1
    for token in tokens:
        with pytest.raises(InvalidToken):
            await worker.verify(shop, token)
    ended = [(await worker.session_of(token)).id for token in tokens]
    assert worker.events.reasons == dict.fromkeys(ended, RevocationReason.ALL_REVOKED)
    assert (await worker.verify(shop, bystander)).login == "bob"


@pytest.mark.usefixtures("ann")
async def test_login_after_the_revocation_is_accepted(worker: InMemoryWorker, shop: str) -> None:
    await worker.login(shop)
    await worker.call(SESSION_REVOKE_ALL, tenantToken=shop, login="ann")
    token = await worker.login(shop)
    assert (await worker.verify(shop, token)).login == "ann"
    await worker.call(SESSION_REVOKE_ALL, tenantToken=shop, login="ann")
    with pytest.raises(InvalidToken):
        await worker.verify(shop, token)


@pytest.mark.usefixtures("ann")
async def test_revocation_without_sessions_succeeds(worker: InMemoryWorker, shop: str) -> None:
    for _ in range(2):
        assert (await worker.call(SESSION_REVOKE_ALL, tenantToken=shop, login="ann")).result == 1
    assert worker.events.announced == []


async def test_revocation_of_an_unknown_user_is_refused(worker: InMemoryWorker, shop: str) -> None:
    """An existing user without sessions is different."""
    with pytest.raises(UserNotFound):
        await worker.call(SESSION_REVOKE_ALL, tenantToken=shop, login="nobody")
