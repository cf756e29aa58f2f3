"""token.revoke of a tenant's token, which it does not support (RFC 7009, 2.2.1)."""

import pytest

from shared.contracts.errors import UnsupportedTokenType
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.tenant_logout import TENANT_LOGOUT
from shared.contracts.tenant_verify import TENANT_VERIFY
from shared.contracts.token_revoke import TOKEN_REVOKE
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker


async def test_token_revoke_of_a_live_token_of_the_tenant_is_refused_and_leaves_it_alive(
    worker: InMemoryWorker, shop: str
) -> None:
    other = (await worker.call(TENANT_LOGIN, email="shop@example.com", password=PASSWORD)).token
    for token in (shop, other):
        with pytest.raises(UnsupportedTokenType):
            await worker.call(TOKEN_REVOKE, tenantToken=shop, token=token)
        await worker.call(TENANT_VERIFY, token=token)
    assert worker.events.announced == []


async def test_token_revoke_of_a_dead_or_foreign_tenant_token_is_answered_as_of_any_invalid_token(
    worker: InMemoryWorker, shop: str
) -> None:
    """The answer does not tell whether another tenant's token is alive."""
    bank = await worker.register("bank@example.com")
    dead = (await worker.call(TENANT_LOGIN, email="shop@example.com", password=PASSWORD)).token
    await worker.call(TENANT_LOGOUT, token=dead)
    for token in (dead, bank, shop + "x"):
        assert (await worker.call(TOKEN_REVOKE, tenantToken=shop, token=token)).result == 1
    await worker.call(TENANT_VERIFY, token=bank)
