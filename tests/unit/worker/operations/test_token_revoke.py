"""token.revoke"""

import pytest

from shared.contracts.errors import InvalidToken
from shared.contracts.events import RevocationReason
from shared.contracts.token_revoke import TOKEN_REVOKE
from tests.unit.worker.in_memory import InMemoryWorker

pytestmark = pytest.mark.usefixtures("ann")


async def test_a_revoked_token_is_dead(worker: InMemoryWorker, shop: str) -> None:
    """The token's session ends and is announced; the user's other sessions live on."""
    token, other = await worker.login(shop), await worker.login(shop)
    assert (await worker.call(TOKEN_REVOKE, tenantToken=shop, token=token)).result == 1
    with pytest.raises(InvalidToken):
        await worker.verify(shop, token)
    await worker.verify(shop, other)
    assert worker.events.reasons == {(await worker.session_of(token)).id: RevocationReason.TOKEN_REVOKED}


async def test_revoking_what_is_not_valid_is_done_already(worker: InMemoryWorker, shop: str) -> None:
    """Dead, foreign, another tenant's or no token: the answer is the same, and nothing happens (RFC 7009, 2.2)."""
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
