"""session.revoke"""

import pytest

from shared.contracts.errors import InvalidToken, SessionNotFound, UserNotFound
from shared.contracts.events import RevocationReason
from shared.contracts.session_revoke import SESSION_REVOKE
from tests.fakes import LIFETIMES
from tests.unit.worker.in_memory import InMemoryWorker

pytestmark = pytest.mark.usefixtures("ann")


async def revoke(worker: InMemoryWorker, tenant_token: str, token: str, login: str = "ann") -> int:
    session = await worker.session_of(token)
    reply = await worker.call(SESSION_REVOKE, tenantToken=tenant_token, login=login, sessionId=session.id)
    return reply.result


async def test_revocation_invalidates_only_the_token_of_its_session(worker: InMemoryWorker, shop: str) -> None:
    """The revocation is announced."""
    token, other = await worker.login(shop), await worker.login(shop)
    assert await revoke(worker, shop, token) == 1
    with pytest.raises(InvalidToken):
        await worker.verify(shop, token)
    await worker.verify(shop, other)
    assert worker.events.reasons == {(await worker.session_of(token)).id: RevocationReason.REVOKED}


async def test_second_revocation_is_not_found(worker: InMemoryWorker, shop: str) -> None:
    """It is not announced again."""
    token = await worker.login(shop)
    await revoke(worker, shop, token)
    with pytest.raises(SessionNotFound):
        await revoke(worker, shop, token)
    assert len(worker.events.announced) == 1


async def test_revocation_of_an_expired_session_is_not_found(worker: InMemoryWorker, shop: str) -> None:
    token = await worker.login(shop)
    worker.clock.advance(LIFETIMES.user)
    with pytest.raises(SessionNotFound):
        await revoke(worker, shop, token)
    assert worker.events.announced == []


async def test_revocation_of_another_users_session_is_not_found(worker: InMemoryWorker, shop: str) -> None:
    """This covers other users, the tenant itself and other tenants."""
    bank = await worker.register("bank@example.com")
    await worker.create(shop, "bob")
    await worker.create(bank, "ann")
    bobs, theirs = await worker.login(shop, "bob"), await worker.login(bank, "ann")
    for token in (bobs, theirs, shop):
        with pytest.raises(SessionNotFound):
            await revoke(worker, shop, token)
    assert worker.events.announced == []
    await worker.verify(shop, bobs)
    await worker.verify(bank, theirs)


async def test_revocation_of_an_unknown_session_is_not_found(worker: InMemoryWorker, shop: str) -> None:
    with pytest.raises(SessionNotFound):
        await worker.call(SESSION_REVOKE, tenantToken=shop, login="ann", sessionId="unknown")


async def test_revocation_under_another_login_is_not_found(worker: InMemoryWorker, shop: str) -> None:
    token = await worker.login(shop)
    with pytest.raises(UserNotFound):
        await revoke(worker, shop, token, login="nobody")
    await worker.verify(shop, token)
