"""token.introspect"""

from typing import Any

import pytest

from shared.contracts.auth_logout import AUTH_LOGOUT
from shared.contracts.token_introspect import TOKEN_INTROSPECT
from tests.fakes import ISSUER, LIFETIMES, NOW
from tests.unit.worker.in_memory import InMemoryWorker


async def introspect(worker: InMemoryWorker, tenant_token: str, token: str) -> dict[str, Any]:
    """Introspect a token and return the members of the reply on the wire."""
    reply = await worker.call(TOKEN_INTROSPECT, tenantToken=tenant_token, token=token)
    return reply.model_dump(exclude_unset=True)


@pytest.mark.parametrize(
    ("scope", "members"), [("read write", {"scope": "read write"}), ({"read": True}, {}), (None, {})], ids=str
)
async def test_active_token_is_introspected_with_the_members_of_rfc_7662(
    worker: InMemoryWorker, shop: str, scope: Any, members: dict[str, Any]
) -> None:
    """A scope is included only if it is a string."""
    user = await worker.create(shop, "ann", scope=scope, sub="007")
    token = await worker.login(shop)
    assert await introspect(worker, shop, token) == {
        "active": True,
        "client_id": user.tenant,
        "username": "ann",
        "token_type": "Bearer",
        "exp": int((NOW + LIFETIMES.user).timestamp()),
        "iat": int(NOW.timestamp()),
        "sub": "007",
        "aud": user.tenant,
        "iss": ISSUER,
        "jti": (await worker.session_of(token)).id,
        **members,
    }


@pytest.mark.usefixtures("ann")
async def test_any_other_token_is_introspected_as_inactive_only(worker: InMemoryWorker, shop: str) -> None:
    """Revoked, expired, foreign, tenant and malformed tokens are covered."""
    bank = await worker.register("bank@example.com")
    await worker.create(bank, "ann")
    dead, foreign = await worker.login(shop), await worker.login(bank)
    await worker.call(AUTH_LOGOUT, tenantToken=shop, token=dead)
    for token in (dead, foreign, shop, bank, "nonsense"):
        assert await introspect(worker, shop, token) == {"active": False}
    token = await worker.login(shop)
    worker.clock.advance(LIFETIMES.user)
    assert await introspect(worker, shop, token) == {"active": False}


@pytest.mark.usefixtures("ann")
async def test_introspection_costs_one_query(worker: InMemoryWorker, shop: str) -> None:
    """Both tokens are found by the same query."""
    token = await worker.login(shop)
    worker.sessions.finds.clear()
    await introspect(worker, shop, token)
    assert len(worker.sessions.finds) == 1
