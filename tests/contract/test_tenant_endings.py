"""What every `Tenants` must do with decisions about a tenant: durable, made once, and forgotten with it at the end."""

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
    ending = await tenants.decide_revocation(tenant.id, DELETED, key or a_key())
    await tenants.finish_revocation(ending)
    return ending


async def test_a_tenant_is_found_by_its_id(tenants: Tenants) -> None:
    """As it was stored, and no other."""
    tenant = await added(tenants)
    assert await tenants.find(tenant.id) == tenant
    assert await tenants.find("nobody") is None
    assert await tenants.is_current(tenant)
    assert await tenants.admits(tenant.id, 0)
    assert not await tenants.admits("nobody", 0)


async def test_a_new_password_is_one_with_its_decision(tenants: Tenants) -> None:
    """Who read the tenant before does not have it as it is; users still log in through sessions from before."""
    tenant = await added(tenants)
    ending = await tenants.decide_revocation(tenant.id, RevocationReason.PASSWORD_CHANGED, a_key(), "new hash")
    assert ending == TenantRevocation(tenant.id, 1, RevocationReason.PASSWORD_CHANGED)
    changed = replace(tenant, password_hash="new hash", generation=1)
    assert await tenants.find_by_email(tenant.email) == changed
    assert await tenants.is_current(changed)
    assert not await tenants.is_current(tenant)
    assert await tenants.admits(tenant.id, 0)
    assert await tenants.unfinished_revocations(LATER, 10) == [ending]
    await tenants.finish_revocation(ending)
    await tenants.finish_revocation(ending)
    assert await tenants.unfinished_revocations(LATER, 10) == []
    assert await tenants.find(tenant.id) == changed


async def test_a_disabled_tenant_admits_nobody(tenants: Tenants) -> None:
    """It is found, and says that it is disabled; enabled, it admits through sessions that began since, and no older."""
    tenant = await added(tenants)
    ending = await tenants.decide_revocation(tenant.id, DISABLED, a_key())
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
    assert await tenants.unfinished_revocations(LATER, 10) == [ending], "what was decided to end is to end all the same"


async def test_a_tenant_is_enabled_once_for_each_request(tenants: Tenants) -> None:
    """A request that comes again does not undo that the tenant was disabled since. Who is not there is not enabled."""
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


async def test_a_tenant_decided_to_be_deleted_is_invisible(tenants: Tenants) -> None:
    """Found no more, by id or by email, and nothing else is decided; but its email is free only when it is gone."""
    tenant = await added(tenants)
    ending = await tenants.decide_revocation(tenant.id, DELETED, a_key())
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
    await tenants.finish_revocation(ending)
    await tenants.add(successor)
    await tenants.finish_revocation(ending)
    assert await tenants.find_by_email(tenant.email) == successor


async def test_nobody_is_brought_back(tenants: Tenants) -> None:
    """A registration that comes again when its tenant was deleted registers nobody."""
    tenant = await added(tenants)
    await delete(tenants, tenant)
    with pytest.raises(EmailTaken):
        await tenants.add(replace(tenant, id="another"))
    assert await tenants.find_by_email(tenant.email) is None


@pytest.mark.parametrize("reason", REASONS)
async def test_a_decision_is_made_once_for_each_request(tenants: Tenants, reason: RevocationReason) -> None:
    """However often it comes, at once or later, it is one decision, also of a tenant that is gone."""
    tenant = await added(tenants)
    key = a_key()
    assert await tenants.find_decision(tenant.id, key) is None
    decisions = await asyncio.gather(*(tenants.decide_revocation(tenant.id, reason, key) for _ in range(20)))
    assert set(decisions) == {TenantRevocation(tenant.id, 1, reason, users_before=1 if reason in CLOSING else 0)}
    assert await tenants.find_decision_by_email(tenant.email, key) == decisions[0]
    if reason is not DELETED:
        await tenants.decide_revocation(tenant.id, ROTATION, a_key())
        await delete(tenants, tenant)
    await tenants.finish_revocation(decisions[0])
    assert await tenants.find_decision(tenant.id, key) == decisions[0]
    assert await tenants.decide_revocation(tenant.id, reason, key) == decisions[0]
    assert await tenants.find_decision_by_email(tenant.email, key) == decisions[0]
    forgotten = replace(key, at=key.at + IDEMPOTENCY_WINDOW)
    assert await tenants.find_decision(tenant.id, forgotten) is None
    assert await tenants.find_decision_by_email(tenant.email, forgotten) is None
    with pytest.raises(TenantNotFound):
        await tenants.decide_revocation(tenant.id, reason, forgotten)


async def test_decisions_at_once_never_share_a_generation(tenants: Tenants) -> None:
    """Each has its own, and the tenant is of the last."""
    tenant = await added(tenants)
    endings = await asyncio.gather(*(tenants.decide_revocation(tenant.id, ROTATION, a_key()) for _ in range(10)))
    assert sorted(ending.generation for ending in endings) == list(range(1, 11))
    first = next(ending for ending in endings if ending.generation == 1)
    await tenants.finish_revocation(first)
    assert [ending.generation for ending in await tenants.unfinished_revocations(LATER, 10)] == [10]


@pytest.mark.parametrize("reason", [ROTATION, RevocationReason.PASSWORD_CHANGED])
async def test_what_was_to_end_of_users_ends_also_when_something_else_is_decided(
    tenants: Tenants, reason: RevocationReason
) -> None:
    """A decision that nobody has finished is part of the one that takes its place; one that is finished is not."""
    tenant = await added(tenants)
    disabling = await tenants.decide_revocation(tenant.id, DISABLED, a_key())
    await tenants.enable(tenant.id, a_key())
    key = a_key()
    both = TenantRevocation(tenant.id, 2, reason, users_before=1)
    for _ in range(2):
        assert await tenants.decide_revocation(tenant.id, reason, key) == both
        assert await tenants.find_decision(tenant.id, key) == both
    assert both.users_reason is DISABLED
    await tenants.finish_revocation(disabling)
    assert await tenants.unfinished_revocations(LATER, 10) == [both]
    assert await tenants.decide_revocation(tenant.id, ROTATION, a_key()) == TenantRevocation(tenant.id, 3, ROTATION, 1)
    await tenants.finish_revocation(TenantRevocation(tenant.id, 3, ROTATION, 1))
    assert await tenants.decide_revocation(tenant.id, reason, a_key()) == TenantRevocation(tenant.id, 4, reason)
    assert [await tenants.admits(tenant.id, generation) for generation in (0, 1)] == [False, True]


async def test_a_deletion_is_of_one_email(tenants: Tenants) -> None:
    """What is marked with the same name about another tenant is not taken for done."""
    tenant, other = await added(tenants), await added(tenants)
    key = a_key()
    await delete(tenants, tenant, key)
    assert await tenants.find_decision_by_email(other.email, key) is None
    assert await tenants.find_decision(other.id, key) is None
    assert await tenants.find(other.id) == other


async def test_only_decisions_left_behind_are_unfinished(tenants: Tenants) -> None:
    """A decision younger than asked for is in somebody's hands; no more than the limit are taken."""
    for seconds in range(4):
        tenant = await added(tenants)
        await tenants.decide_revocation(tenant.id, ROTATION, a_key(at=NOW + timedelta(seconds=seconds)))
    assert len(await tenants.unfinished_revocations(NOW + timedelta(seconds=2), 10)) == 2
    assert len(await tenants.unfinished_revocations(NOW + timedelta(days=1), 3)) == 3
