"""tenant.verify"""

import pytest

from shared.contracts.errors import InvalidToken
from shared.contracts.tenant_logout import TENANT_LOGOUT
from shared.contracts.tenant_verify import TENANT_VERIFY
from shared.contracts.user import User
from tests.unit.worker.in_memory import InMemoryWorker


async def test_a_live_tenant_token_is_decoded(worker: InMemoryWorker, shop: str) -> None:
    """The answer is what the token says of its tenant."""
    decoded = (await worker.call(TENANT_VERIFY, token=shop)).decoded
    assert decoded.login == "tenant:shop@example.com"
    assert decoded.is_tenant


async def test_a_dead_tenant_token(worker: InMemoryWorker, shop: str) -> None:
    """A token that was logged out is invalid."""
    await worker.call(TENANT_LOGOUT, token=shop)
    with pytest.raises(InvalidToken):
        await worker.call(TENANT_VERIFY, token=shop)


async def test_what_is_no_token(worker: InMemoryWorker) -> None:
    """Anything else is invalid, and costs no query."""
    for token in ("x", "a.b.c", "{}", "🙂", "." * 1000):
        with pytest.raises(InvalidToken):
            await worker.call(TENANT_VERIFY, token=token)
    assert worker.sessions.finds == []


@pytest.mark.usefixtures("ann")
async def test_a_user_token_is_no_tenant_token(worker: InMemoryWorker, shop: str) -> None:
    """A user token is invalid where a tenant token belongs."""
    token = await worker.login(shop)
    with pytest.raises(InvalidToken):
        await worker.call(TENANT_VERIFY, token=token)


async def test_tenants_are_told_apart(worker: InMemoryWorker, ann: User, shop: str) -> None:
    """Each token is decoded as its own tenant's."""
    bank = await worker.register("bank@example.com")
    assert (await worker.call(TENANT_VERIFY, token=shop)).decoded.tenant == ann.tenant
    assert (await worker.call(TENANT_VERIFY, token=bank)).decoded.tenant != ann.tenant
