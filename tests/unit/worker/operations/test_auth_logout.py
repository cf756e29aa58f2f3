"""auth.logout"""

import asyncio

import pytest

from shared.contracts.auth_logout import AUTH_LOGOUT
from shared.contracts.errors import InvalidToken
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from tests.unit.worker.in_memory import InMemoryWorker

pytestmark = pytest.mark.usefixtures("ann")


async def test_logout_revokes_only_its_session_and_announces_it(worker: InMemoryWorker, shop: str) -> None:
    token, other = await worker.login(shop), await worker.login(shop)
    assert (await worker.call(AUTH_LOGOUT, tenantToken=shop, token=token)).result == 1
    with pytest.raises(InvalidToken):
        await worker.verify(shop, token)
    await worker.verify(shop, other)
    assert worker.events.reasons == {(await worker.session_of(token)).id: RevocationReason.LOGOUT}


async def test_logout_keeps_the_stored_session_in_the_outbox(worker: InMemoryWorker, shop: str) -> None:
    """It stays there until its event is published."""
    token = await worker.login(shop)
    await worker.call(AUTH_LOGOUT, tenantToken=shop, token=token)
    session = await worker.session_of(token)
    assert worker.events.announced == [session]
    worker.clock.advance(worker.ports.lifetimes.user)
    assert await worker.sessions.unannounced(session.tenant, worker.clock.now(), 10) == worker.events.announced


async def test_second_logout_of_a_token_is_refused(worker: InMemoryWorker, shop: str) -> None:
    """The revocation is announced once."""
    token = await worker.login(shop)
    await worker.call(AUTH_LOGOUT, tenantToken=shop, token=token)
    with pytest.raises(InvalidToken):
        await worker.call(AUTH_LOGOUT, tenantToken=shop, token=token)
    assert len(worker.events.announced) == 1


async def test_concurrent_logouts_of_a_token_succeed_once(worker: InMemoryWorker, shop: str) -> None:
    """The others find an invalid token."""
    token = await worker.login(shop)
    answers = await asyncio.gather(
        *(worker.call(AUTH_LOGOUT, tenantToken=shop, token=token) for _ in range(5)), return_exceptions=True
    )
    assert [type(answer) for answer in answers].count(Done) == 1
    assert [type(answer) for answer in answers].count(InvalidToken) == 4
    assert len(worker.events.announced) == 1


async def test_logout_costs_one_query(worker: InMemoryWorker, shop: str) -> None:
    """Both tokens are found by the same query."""
    token = await worker.login(shop)
    worker.sessions.finds.clear()
    await worker.call(AUTH_LOGOUT, tenantToken=shop, token=token)
    assert len(worker.sessions.finds) == 1


async def test_logout_with_a_tenant_token_is_refused(worker: InMemoryWorker, shop: str) -> None:
    """The tenant token stays valid."""
    with pytest.raises(InvalidToken):
        await worker.call(AUTH_LOGOUT, tenantToken=shop, token=shop)
    assert worker.events.announced == []
    await worker.login(shop)
