"""tenant.revoke_sessions"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from shared.contracts.errors import Forbidden, InvalidTenantToken, InvalidToken, Unavailable
from shared.contracts.events import RevocationReason
from shared.contracts.permissions import OPERATOR_PERMISSIONS, Permission
from shared.contracts.principal_get import PRINCIPAL_GET
from shared.contracts.tenant_disable import TENANT_DISABLE
from shared.contracts.tenant_enable import TENANT_ENABLE
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.tenant_revoke_sessions import TENANT_REVOKE_SESSIONS
from tests.fakes import FakeSessions
from tests.sweeping import sweep
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker
from tests.unit.worker.operators import operator_on
from worker.domain.records import StoredSession, TenantRevocation
from worker.sweeper import GRACE

EMAIL = "shop@example.com"


@pytest.mark.usefixtures("ann")
async def test_all_sessions_of_the_tenant_and_its_users_are_revoked_and_announced(
    worker: InMemoryWorker, shop: str
) -> None:
    """Another tenant is not affected, and both can log in again at once."""
    operator = await operator_on(worker, shop)
    token, bank = await worker.login(shop), await worker.register("bank@example.com")
    await worker.create(bank)
    theirs = await worker.login(bank)
    await worker.call(TENANT_REVOKE_SESSIONS, **operator.on_shop)
    ended = [(await worker.session_of(each)).id for each in (shop, token)]
    assert worker.events.reasons == dict.fromkeys(ended, RevocationReason.ALL_REVOKED)
    with pytest.raises(InvalidTenantToken):
        await worker.call(PRINCIPAL_GET, tenantToken=shop)
    again = (await worker.call(TENANT_LOGIN, email=EMAIL, password=PASSWORD)).token
    with pytest.raises(InvalidToken):
        await worker.verify(again, token)
    assert (await worker.verify(again, await worker.login(again))).login == "ann"
    assert (await worker.verify(bank, theirs)).login == "ann"


@pytest.mark.usefixtures("ann")
async def test_retry_spares_sessions_created_since(worker: InMemoryWorker, shop: str) -> None:
    operator = await operator_on(worker, shop)
    await worker.call(TENANT_REVOKE_SESSIONS, "message", **operator.on_shop)
    again = (await worker.call(TENANT_LOGIN, email=EMAIL, password=PASSWORD)).token
    token = await worker.login(again)
    await worker.call(TENANT_REVOKE_SESSIONS, "message", **operator.on_shop)
    assert (await worker.verify(again, token)).login == "ann"


class InterruptedSessions(FakeSessions):
    """Fails when a decision is carried out, as a worker that crashes does."""

    crashed = False

    async def revoke_of_tenant(self, decision: TenantRevocation, now: datetime, limit: int) -> Sequence[StoredSession]:
        if not self.crashed:
            self.crashed = True
            raise Unavailable
        return await super().revoke_of_tenant(decision, now, limit)


async def test_interrupted_revocation_is_completed_by_the_sweep() -> None:
    """The decision is stored with the tenant before any session is revoked."""
    worker = InMemoryWorker(sessions=InterruptedSessions())
    shop = await worker.register()
    await worker.create(shop)
    operator = await operator_on(worker, shop)
    token = await worker.login(shop)
    with pytest.raises(Unavailable):
        await worker.call(TENANT_REVOKE_SESSIONS, **operator.on_shop)
    assert await worker.verify(shop, token)
    worker.clock.advance(GRACE + timedelta(seconds=1))
    await sweep(worker.ports)
    with pytest.raises(InvalidTenantToken):
        await worker.verify(shop, token)
    again = (await worker.call(TENANT_LOGIN, email=EMAIL, password=PASSWORD)).token
    with pytest.raises(InvalidToken):
        await worker.verify(again, token)


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize("revoke_keys", [False, True])
async def test_api_keys_stay_unless_the_operator_asks(worker: InMemoryWorker, shop: str, *, revoke_keys: bool) -> None:
    """A key that stays logs users in as before, and dies with a later disabling."""
    operator = await operator_on(worker, shop)
    key = (await worker.create_key(shop, permissions=["auth:login", "tokens:verify"])).api_key
    await worker.call(TENANT_REVOKE_SESSIONS, **operator.on_shop, revokeKeys=revoke_keys)
    if not revoke_keys:
        assert (await worker.verify(key, await worker.login(key))).login == "ann"
        await worker.call(TENANT_DISABLE, **operator.on_shop)
        await worker.call(TENANT_ENABLE, **operator.on_shop)
    with pytest.raises(InvalidTenantToken):
        await worker.call(PRINCIPAL_GET, tenantToken=key)


def test_keys_die_with_a_disabling_that_was_not_finished_before() -> None:
    disabled = TenantRevocation.after("shop", 4, RevocationReason.TENANT_DISABLED, None)
    after = TenantRevocation.after("shop", 5, RevocationReason.ALL_REVOKED, disabled, with_users=True)
    assert (after.users_before, after.keys_before) == (6, 5)


async def test_operators_tenant_is_spared(worker: InMemoryWorker, shop: str) -> None:
    operator = await operator_on(worker, shop)
    with pytest.raises(Forbidden, match="operators' tenant"):
        await worker.call(TENANT_REVOKE_SESSIONS, **operator.on_office)


async def test_permission_of_a_tenants_sessions_is_not_enough(worker: InMemoryWorker, shop: str) -> None:
    operator = await operator_on(worker, shop, OPERATOR_PERMISSIONS - {Permission.TENANTS_WRITE})
    for credential in (operator.token, shop):
        with pytest.raises(Forbidden):
            await worker.call(TENANT_REVOKE_SESSIONS, tenantToken=credential, onTenant=operator.shop)
    assert worker.events.announced == []


def test_reason_of_users_sessions_is_that_of_the_decision_that_includes_them() -> None:
    revoked = TenantRevocation.after("shop", 4, RevocationReason.ALL_REVOKED, None, with_users=True)
    assert (revoked.users_before, revoked.users_reason) == (5, RevocationReason.ALL_REVOKED)
    disabled = TenantRevocation.after("shop", 5, RevocationReason.TENANT_DISABLED, revoked)
    changed = TenantRevocation.after("shop", 6, RevocationReason.PASSWORD_CHANGED, disabled)
    assert (changed.users_before, changed.users_reason) == (6, RevocationReason.TENANT_DISABLED)
