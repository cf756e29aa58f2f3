"""auth.logout"""

import asyncio

import pytest

from shared.contracts.auth_logout import AUTH_LOGOUT
from shared.contracts.errors import InvalidToken
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from tests.unit.worker.in_memory import InMemoryWorker

pytestmark = pytest.mark.usefixtures("ann")


async def test_a_token_is_dead_once_logout_has_answered(worker: InMemoryWorker, shop: str) -> None:
    """The token's session ends, as logged out, and is announced; the user's other sessions live on."""
    token, other = await worker.login(shop), await worker.login(shop)
    assert (await worker.call(AUTH_LOGOUT, tenantToken=shop, token=token)).result == 1
    with pytest.raises(InvalidToken):
        await worker.verify(shop, token)
    await worker.verify(shop, other)
    assert worker.events.reasons == {(await worker.session_of(token)).id: RevocationReason.LOGOUT}


async def test_what_is_announced_is_the_revoked_session(worker: InMemoryWorker, shop: str) -> None:
    """The event is made from the session as it is stored, and stays in the outbox until it is published."""
    token = await worker.login(shop)
    await worker.call(AUTH_LOGOUT, tenantToken=shop, token=token)
    session = await worker.session_of(token)
    assert worker.events.announced == [session]
    worker.clock.advance(worker.ports.lifetimes.user)
    assert await worker.sessions.unannounced(session.tenant, worker.clock.now(), 10) == worker.events.announced


async def test_logout_twice(worker: InMemoryWorker, shop: str) -> None:
    """A token is logged out once, and announced once."""
    token = await worker.login(shop)
    await worker.call(AUTH_LOGOUT, tenantToken=shop, token=token)
    with pytest.raises(InvalidToken):
        await worker.call(AUTH_LOGOUT, tenantToken=shop, token=token)
    assert len(worker.events.announced) == 1


async def test_logout_twice_at_once(worker: InMemoryWorker, shop: str) -> None:
    """Of concurrent logouts of one token one is done, the others find an invalid token."""
    token = await worker.login(shop)
    answers = await asyncio.gather(
        *(worker.call(AUTH_LOGOUT, tenantToken=shop, token=token) for _ in range(5)), return_exceptions=True
    )
    assert [type(answer) for answer in answers].count(Done) == 1
    assert [type(answer) for answer in answers].count(InvalidToken) == 4
    assert len(worker.events.announced) == 1


async def test_logout_costs_one_query(worker: InMemoryWorker, shop: str) -> None:
    """Both tokens are looked up together."""
    token = await worker.login(shop)
    worker.sessions.finds.clear()
    await worker.call(AUTH_LOGOUT, tenantToken=shop, token=token)
    assert len(worker.sessions.finds) == 1


async def test_a_tenant_token_is_not_logged_out_here(worker: InMemoryWorker, shop: str) -> None:
    """A tenant token is refused where a user token belongs, and stays alive."""
    with pytest.raises(InvalidToken):
        await worker.call(AUTH_LOGOUT, tenantToken=shop, token=shop)
    assert worker.events.announced == []
    await worker.login(shop)
