"""token.revoke"""

import pytest

from shared.contracts.errors import InvalidToken
from shared.contracts.events import RevocationReason
from shared.contracts.token_revoke import TOKEN_REVOKE
from tests.unit.worker.in_memory import InMemoryWorker

pytestmark = pytest.mark.usefixtures("ann")


async def test_token_revocation_revokes_only_its_session_and_announces_it(worker: InMemoryWorker, shop: str) -> None:
    token, other = await worker.login(shop), await worker.login(shop)
    assert (await worker.call(TOKEN_REVOKE, tenantToken=shop, token=token)).result == 1
    with pytest.raises(InvalidToken):
        await worker.verify(shop, token)
    await worker.verify(shop, other)
    assert worker.events.reasons == {(await worker.session_of(token)).id: RevocationReason.TOKEN_REVOKED}


async def test_revocation_of_an_invalid_token_succeeds_without_effect(worker: InMemoryWorker, shop: str) -> None:
    """RFC 7009, 2.2. Covered are revoked, foreign, another tenant's and malformed tokens."""
    bank = await worker.register("bank@example.com")
    await worker.create(bank, "ann")
    dead, foreign = await worker.login(shop), await worker.login(bank)
    await worker.call(TOKEN_REVOKE, tenantToken=shop, token=dead)
    worker.events.announced.clear()
    for token in (dead, foreign, bank, "nonsense"):
        assert (await worker.call(TOKEN_REVOKE, tenantToken=shop, token=token)).result == 1
    assert worker.events.announced == []
    assert (await worker.verify(bank, foreign)).login == "ann"
    await worker.login(shop)
