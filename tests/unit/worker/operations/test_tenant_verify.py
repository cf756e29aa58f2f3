"""tenant.verify"""

import pytest

from shared.contracts.errors import InvalidToken
from shared.contracts.tenant_logout import TENANT_LOGOUT
from shared.contracts.tenant_verify import TENANT_VERIFY
from shared.contracts.user import User
from tests.unit.worker.in_memory import InMemoryWorker


async def test_live_tenant_token_is_answered_with_its_claims(worker: InMemoryWorker, shop: str) -> None:
    decoded = (await worker.call(TENANT_VERIFY, token=shop)).decoded
    assert decoded.login == "tenant:shop@example.com"
    assert decoded.is_tenant


async def test_revoked_tenant_token_is_refused(worker: InMemoryWorker, shop: str) -> None:
    await worker.call(TENANT_LOGOUT, token=shop)
    with pytest.raises(InvalidToken):
        await worker.call(TENANT_VERIFY, token=shop)


async def test_malformed_tenant_token_is_refused_without_a_query(worker: InMemoryWorker) -> None:
    for token in ("x", "a.b.c", "{}", "🙂", "." * 1000):
        with pytest.raises(InvalidToken):
            await worker.call(TENANT_VERIFY, token=token)
    assert worker.sessions.finds == []


@pytest.mark.usefixtures("ann")
async def test_user_token_in_place_of_a_tenant_token_is_refused(worker: InMemoryWorker, shop: str) -> None:
    token = await worker.login(shop)
    with pytest.raises(InvalidToken):
        await worker.call(TENANT_VERIFY, token=token)


async def test_tenant_token_is_decoded_for_its_own_tenant(worker: InMemoryWorker, ann: User, shop: str) -> None:
    bank = await worker.register("bank@example.com")
    assert (await worker.call(TENANT_VERIFY, token=shop)).decoded.tenant == ann.tenant
    assert (await worker.call(TENANT_VERIFY, token=bank)).decoded.tenant != ann.tenant
