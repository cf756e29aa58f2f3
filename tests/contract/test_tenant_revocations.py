"""The contract of `Tenants` for decisions about a tenant, for the fake and MongoDB."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.contracts.errors import EmailTaken, TenantNotFound
from shared.contracts.events import RevocationReason
from tests.fakes import NOW, FakeTenants
from tests.records import a_key, a_tenant
from worker.adapters.mongo_tenants import MongoTenants
from worker.domain.ports import Tenants
from worker.domain.records import CLOSING, IDEMPOTENCY_WINDOW, IdempotencyKey, StoredTenant, TenantRevocation

LATER = NOW + timedelta(milliseconds=1)
ROTATION = RevocationReason.ALL_REVOKED
DISABLED, DELETED = RevocationReason.TENANT_DISABLED, RevocationReason.TENANT_DELETED
REASONS = [ROTATION, RevocationReason.PASSWORD_CHANGED, DISABLED, DELETED]


@pytest.fixture(params=["fake", "mongo"])
def tenants(request: pytest.FixtureRequest) -> Tenants:
    if request.param == "fake":
        return FakeTenants()
    return MongoTenants(request.getfixturevalue("mongo_database"))


async def added(tenants: Tenants, **changes: Any) -> StoredTenant:
    tenant = a_tenant(**changes)
    await tenants.add(tenant)
    return tenant


async def delete(tenants: Tenants, tenant: StoredTenant, key: IdempotencyKey | None = None) -> TenantRevocation:
    decision = await tenants.decide_revocation(tenant.id, DELETED, key or a_key())
    await tenants.finish_revocation(decision)
    return decision


async def test_tenant_is_found_only_by_its_id(tenants: Tenants) -> None:
    tenant = await added(tenants)
    assert await tenants.find(tenant.id) == tenant
    assert await tenants.find("nobody") is None
    assert await tenants.is_current(tenant)
    assert await tenants.admits(tenant.id, 0)
    assert not await tenants.admits("nobody", 0)


async def test_new_password_is_stored_in_one_write_with_its_decision(tenants: Tenants) -> None:
    """Sessions of the previous generation still admit the tenant's users."""
    tenant = await added(tenants)
    decision = await tenants.decide_revocation(tenant.id, RevocationReason.PASSWORD_CHANGED, a_key(), "new hash")
    assert decision == TenantRevocation(tenant.id, 1, RevocationReason.PASSWORD_CHANGED)
    changed = replace(tenant, password_hash="new hash", generation=1)
    assert await tenants.find_by_email(tenant.email) == changed
    assert await tenants.is_current(changed)
    assert not await tenants.is_current(tenant)
    assert await tenants.admits(tenant.id, 0)
    assert await tenants.unfinished_revocations(LATER, 10) == [decision]
    await tenants.finish_revocation(decision)
    await tenants.finish_revocation(decision)
    assert await tenants.unfinished_revocations(LATER, 10) == []
    assert await tenants.find(tenant.id) == changed


async def test_disabled_tenant_admits_no_generation_until_enabled(tenants: Tenants) -> None:
    """After that it admits only sessions of the new generation."""
    tenant = await added(tenants)
    decision = await tenants.decide_revocation(tenant.id, DISABLED, a_key())
    disabled = replace(tenant, generation=1, disabled=True)
    assert await tenants.find(tenant.id) == disabled
    for generation in (0, 1):
        assert not await tenants.admits(tenant.id, generation)
        assert not await tenants.is_current(replace(tenant, generation=generation))
    await tenants.enable(tenant.id, a_key())
    enabled = replace(disabled, disabled=False)
    assert await tenants.find(tenant.id) == enabled
    assert await tenants.is_current(enabled)
    assert [await tenants.admits(tenant.id, generation) for generation in (0, 1)] == [False, True]
    assert await tenants.unfinished_revocations(LATER, 10) == [decision], "the decision stays unfinished"


async def test_repeated_enable_after_a_disable_changes_nothing(tenants: Tenants) -> None:
    """Enabling an unknown tenant creates nothing."""
    tenant = await added(tenants)
    key = a_key()
    await tenants.enable(tenant.id, key)
    await tenants.decide_revocation(tenant.id, DISABLED, a_key())
    await tenants.enable(tenant.id, key)
    found = await tenants.find(tenant.id)
    assert found is not None
    assert found.disabled
    await tenants.enable("nobody", a_key())
    assert await tenants.find("nobody") is None


async def test_tenant_being_deleted_is_invisible_and_keeps_its_email(tenants: Tenants) -> None:
    """The email is free when the deletion is finished."""
    tenant = await added(tenants)
    decision = await tenants.decide_revocation(tenant.id, DELETED, a_key())
    assert await tenants.find(tenant.id) is None
    assert await tenants.find_by_email(tenant.email) is None
    assert not await tenants.admits(tenant.id, 1)
    await tenants.enable(tenant.id, a_key())
    assert await tenants.find(tenant.id) is None
    with pytest.raises(TenantNotFound):
        await tenants.decide_revocation(tenant.id, DISABLED, a_key())
    successor = a_tenant(email=tenant.email)
    with pytest.raises(EmailTaken):
        await tenants.add(successor)
    await tenants.finish_revocation(decision)
    await tenants.add(successor)
    await tenants.finish_revocation(decision)
    assert await tenants.find_by_email(tenant.email) == successor


async def test_repeated_registration_of_a_deleted_tenant_is_refused(tenants: Tenants) -> None:
    tenant = await added(tenants)
    await delete(tenants, tenant)
    with pytest.raises(EmailTaken):
        await tenants.add(replace(tenant, id="another"))
    assert await tenants.find_by_email(tenant.email) is None


@pytest.mark.parametrize("reason", REASONS)
async def test_repeated_decision_is_the_first_decision(tenants: Tenants, reason: RevocationReason) -> None:
    """The result is the same for concurrent deliveries and after the tenant was deleted."""
    tenant = await added(tenants)
    key = a_key()
    assert await tenants.find_decision(tenant.id, key) is None
    decisions = await asyncio.gather(*(tenants.decide_revocation(tenant.id, reason, key) for _ in range(20)))
    of_others = 1 if reason in CLOSING else 0
    assert set(decisions) == {TenantRevocation(tenant.id, 1, reason, users_before=of_others, keys_before=of_others)}
    assert await tenants.find_decision_by_email(tenant.email, key) == decisions[0]
    if reason is not DELETED:
        await tenants.decide_revocation(tenant.id, ROTATION, a_key())
        await delete(tenants, tenant)
    await tenants.finish_revocation(decisions[0])
    assert await tenants.find_decision(tenant.id, key) == decisions[0]
    assert await tenants.decide_revocation(tenant.id, reason, key) == decisions[0]
    assert await tenants.find_decision_by_email(tenant.email, key) == decisions[0]
    expired = replace(key, at=key.at + IDEMPOTENCY_WINDOW)
    assert await tenants.find_decision(tenant.id, expired) is None
    assert await tenants.find_decision_by_email(tenant.email, expired) is None
    with pytest.raises(TenantNotFound):
        await tenants.decide_revocation(tenant.id, reason, expired)


async def test_concurrent_decisions_get_distinct_generations(tenants: Tenants) -> None:
    tenant = await added(tenants)
    decisions = await asyncio.gather(*(tenants.decide_revocation(tenant.id, ROTATION, a_key()) for _ in range(10)))
    assert sorted(decision.generation for decision in decisions) == list(range(1, 11))
    first = next(decision for decision in decisions if decision.generation == 1)
    await tenants.finish_revocation(first)
    assert [decision.generation for decision in await tenants.unfinished_revocations(LATER, 10)] == [10]


@pytest.mark.parametrize("reason", [ROTATION, RevocationReason.PASSWORD_CHANGED])
async def test_decision_includes_an_unfinished_decision_about_users(tenants: Tenants, reason: RevocationReason) -> None:
    """A finished decision is not included."""
    tenant = await added(tenants)
    disabling = await tenants.decide_revocation(tenant.id, DISABLED, a_key())
    await tenants.enable(tenant.id, a_key())
    key = a_key()
    both = TenantRevocation(tenant.id, 2, reason, users_before=1, keys_before=1)
    for _ in range(2):
        assert await tenants.decide_revocation(tenant.id, reason, key) == both
        assert await tenants.find_decision(tenant.id, key) == both
    assert both.users_reason is DISABLED
    await tenants.finish_revocation(disabling)
    assert await tenants.unfinished_revocations(LATER, 10) == [both]
    assert await tenants.decide_revocation(tenant.id, ROTATION, a_key()) == TenantRevocation(
        tenant.id, 3, ROTATION, 1, 1
    )
    await tenants.finish_revocation(TenantRevocation(tenant.id, 3, ROTATION, 1, 1))
    assert await tenants.decide_revocation(tenant.id, reason, a_key()) == TenantRevocation(tenant.id, 4, reason)
    assert [await tenants.admits(tenant.id, generation) for generation in (0, 1)] == [False, True]


async def test_key_used_for_one_tenant_is_new_for_another(tenants: Tenants) -> None:
    tenant, other = await added(tenants), await added(tenants)
    key = a_key()
    await delete(tenants, tenant, key)
    assert await tenants.find_decision_by_email(other.email, key) is None
    assert await tenants.find_decision(other.id, key) is None
    assert await tenants.find(other.id) == other


async def test_unfinished_decisions_are_only_those_older_than_the_given_time(tenants: Tenants) -> None:
    """The worker that made a younger decision is still carrying it out."""
    for seconds in range(4):
        tenant = await added(tenants)
        await tenants.decide_revocation(tenant.id, ROTATION, a_key(at=NOW + timedelta(seconds=seconds)))
    assert len(await tenants.unfinished_revocations(NOW + timedelta(seconds=2), 10)) == 2
    assert len(await tenants.unfinished_revocations(NOW + timedelta(days=1), 3)) == 3
