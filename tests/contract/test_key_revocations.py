"""The contract of `Tenants` for decisions that include API keys, for the fake and MongoDB."""

from datetime import timedelta

import pytest

from shared.contracts.events import RevocationReason
from tests.fakes import NOW, FakeTenants
from tests.records import a_key, a_tenant
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_tenants import MongoTenants
from worker.domain.ports import Tenants
from worker.domain.records import CLOSING, TenantRevocation

LATER = NOW + timedelta(milliseconds=1)
ROTATION, CHANGE = RevocationReason.ALL_REVOKED, RevocationReason.PASSWORD_CHANGED
DISABLED = RevocationReason.TENANT_DISABLED


@pytest.fixture(params=["fake", "mongo"])
def tenants(request: pytest.FixtureRequest) -> Tenants:
    if request.param == "fake":
        return FakeTenants()
    return MongoTenants(request.getfixturevalue("mongo_database"))


@pytest.mark.parametrize("reason", [ROTATION, CHANGE])
async def test_decision_includes_keys_if_asked_and_admits_no_older_generation(
    tenants: Tenants, reason: RevocationReason
) -> None:
    """The repeated request gets the same decision."""
    tenant = a_tenant()
    await tenants.add(tenant)
    key = a_key()
    decision = TenantRevocation(tenant.id, 1, reason, users_before=0, keys_before=1)
    for _ in range(2):
        assert await tenants.decide_revocation(tenant.id, reason, key, revoke_keys=True) == decision
    assert await tenants.find_decision(tenant.id, key) == decision
    assert await tenants.unfinished_revocations(LATER, 10) == [decision]
    assert (decision.keys_before, decision.keys_reason) == (1, reason)
    assert [await tenants.admits(tenant.id, generation) for generation in (0, 1)] == [False, True]


async def test_decision_includes_an_unfinished_decision_about_keys(tenants: Tenants) -> None:
    """A finished one is not included."""
    tenant = a_tenant()
    await tenants.add(tenant)
    await tenants.decide_revocation(tenant.id, CHANGE, a_key(), revoke_keys=True)
    both = await tenants.decide_revocation(tenant.id, ROTATION, a_key())
    assert both == TenantRevocation(tenant.id, 2, ROTATION, keys_before=1)
    assert (both.keys_before, both.keys_reason) == (1, ROTATION)
    await tenants.finish_revocation(both)
    assert await tenants.decide_revocation(tenant.id, ROTATION, a_key()) == TenantRevocation(tenant.id, 3, ROTATION)
    assert [await tenants.admits(tenant.id, generation) for generation in (0, 1)] == [False, True]


@pytest.mark.parametrize("reason", sorted(CLOSING))
async def test_closing_a_tenant_always_includes_keys(tenants: Tenants, reason: RevocationReason) -> None:
    tenant = a_tenant()
    await tenants.add(tenant)
    decision = await tenants.decide_revocation(tenant.id, reason, a_key())
    assert (decision.keys_before, decision.keys_reason) == (1, reason)


@pytest.mark.parametrize("reason", [ROTATION, CHANGE, DISABLED])
async def test_decision_of_a_worker_without_api_keys_includes_keys(
    mongo_database: MongoDatabase, reason: RevocationReason
) -> None:
    """That worker would revoke them, and its caller may have asked for that in a member that it ignored."""
    tenants = MongoTenants(mongo_database)
    tenant = a_tenant()
    await tenants.add(tenant)
    await tenants.decide_revocation(tenant.id, reason, a_key())
    await mongo_database.collection("tenants").update_one({"_id": tenant.id}, {"$unset": {"ending.keys_before": ""}})
    [decision] = await tenants.unfinished_revocations(LATER, 10)
    assert (decision.keys_before, decision.keys_reason) == (1, reason)
