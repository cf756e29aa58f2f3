"""session.revoke_all"""

import pytest

from shared.contracts.errors import InvalidToken, UserNotFound
from shared.contracts.events import RevocationReason
from shared.contracts.session_revoke_all import SESSION_REVOKE_ALL
from tests.unit.worker.in_memory import InMemoryWorker


@pytest.mark.usefixtures("ann")
async def test_every_session_of_the_user_ends(worker: InMemoryWorker, shop: str) -> None:
    """Each is refused and announced; those of others live on, and so does the tenant's own."""
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
async def test_a_user_may_log_in_again(worker: InMemoryWorker, shop: str) -> None:
    """What ends are the sessions, not the account: a login after it lives."""
    await worker.login(shop)
    await worker.call(SESSION_REVOKE_ALL, tenantToken=shop, login="ann")
    token = await worker.login(shop)
    assert (await worker.verify(shop, token)).login == "ann"
    await worker.call(SESSION_REVOKE_ALL, tenantToken=shop, login="ann")
    with pytest.raises(InvalidToken):
        await worker.verify(shop, token)


@pytest.mark.usefixtures("ann")
async def test_a_user_without_sessions(worker: InMemoryWorker, shop: str) -> None:
    """Nothing to end is no error, as often as it is asked for."""
    for _ in range(2):
        assert (await worker.call(SESSION_REVOKE_ALL, tenantToken=shop, login="ann")).result == 1
    assert worker.events.announced == []


async def test_an_unknown_user(worker: InMemoryWorker, shop: str) -> None:
    """Nobody is told apart from somebody without sessions."""
    with pytest.raises(UserNotFound):
        await worker.call(SESSION_REVOKE_ALL, tenantToken=shop, login="nobody")
