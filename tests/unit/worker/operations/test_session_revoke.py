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


async def test_a_revoked_session_is_dead(worker: InMemoryWorker, shop: str) -> None:
    """Its token is refused and its end announced; the user's other sessions live on."""
    token, other = await worker.login(shop), await worker.login(shop)
    assert await revoke(worker, shop, token) == 1
    with pytest.raises(InvalidToken):
        await worker.verify(shop, token)
    await worker.verify(shop, other)
    assert worker.events.reasons == {(await worker.session_of(token)).id: RevocationReason.REVOKED}


async def test_a_session_is_revoked_once(worker: InMemoryWorker, shop: str) -> None:
    """A session that has ended is not found, and not announced again."""
    token = await worker.login(shop)
    await revoke(worker, shop, token)
    with pytest.raises(SessionNotFound):
        await revoke(worker, shop, token)
    assert len(worker.events.announced) == 1


async def test_an_expired_session(worker: InMemoryWorker, shop: str) -> None:
    """A session that ended by itself is not found."""
    token = await worker.login(shop)
    worker.clock.advance(LIFETIMES.user)
    with pytest.raises(SessionNotFound):
        await revoke(worker, shop, token)
    assert worker.events.announced == []


async def test_a_session_of_somebody_else(worker: InMemoryWorker, shop: str) -> None:
    """The sessions of other users, of the tenant itself and of other tenants are not found, and live on."""
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


async def test_an_unknown_session(worker: InMemoryWorker, shop: str) -> None:
    """An id of nothing is not found."""
    with pytest.raises(SessionNotFound):
        await worker.call(SESSION_REVOKE, tenantToken=shop, login="ann", sessionId="unknown")


async def test_an_unknown_user(worker: InMemoryWorker, shop: str) -> None:
    """A session is not revoked under a wrong login."""
    token = await worker.login(shop)
    with pytest.raises(UserNotFound):
        await revoke(worker, shop, token, login="nobody")
    await worker.verify(shop, token)
