"""The contract of `Tenants` for accounts, for the fake and MongoDB."""

import asyncio

import pytest

from shared.contracts.errors import EmailTaken
from shared.contracts.events import RevocationReason
from tests.fakes import FakeTenants
from tests.records import a_key, a_tenant
from worker.adapters.mongo_tenants import MongoTenants
from worker.domain.ports import Tenants


@pytest.fixture(params=["fake", "mongo"])
def tenants(request: pytest.FixtureRequest) -> Tenants:
    if request.param == "fake":
        return FakeTenants()
    return MongoTenants(request.getfixturevalue("mongo_database"))


async def test_added_tenant_is_found_unchanged(tenants: Tenants) -> None:
    tenant = a_tenant()
    await tenants.add(tenant)
    assert await tenants.find_by_email(tenant.email) == tenant


async def test_part_of_an_email_finds_no_tenant(tenants: Tenants) -> None:
    await tenants.add(a_tenant(email="shop@example.com"))
    assert await tenants.find_by_email("shop@example.co") is None


async def test_second_tenant_with_the_same_email_is_refused(tenants: Tenants) -> None:
    first = a_tenant()
    await tenants.add(first)
    with pytest.raises(EmailTaken):
        await tenants.add(a_tenant(email=first.email))
    assert await tenants.find_by_email(first.email) == first


async def test_one_of_concurrent_registrations_gets_the_email(tenants: Tenants) -> None:
    rivals = [a_tenant(email="shop@example.com") for _ in range(50)]
    outcomes = await asyncio.gather(*(tenants.add(rival) for rival in rivals), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(EmailTaken) == 49
    assert await tenants.find_by_email("shop@example.com") == rivals[outcomes.index(None)]


async def test_pages_list_tenants_by_email_without_those_being_deleted(tenants: Tenants) -> None:
    for number in range(5):
        await tenants.add(a_tenant(id=str(number), email=f"{number}@example.com"))
    await tenants.decide_revocation("1", RevocationReason.TENANT_DELETED, a_key())
    await tenants.decide_revocation("2", RevocationReason.TENANT_DISABLED, a_key())
    pages = [
        await tenants.page("", "", 3),
        await tenants.page("", "3@example.com", 3),
        await tenants.page("", "4@example.com", 3),
    ]
    assert [[tenant.id for tenant in page] for page in pages] == [["0", "2", "3"], ["4"], []]


async def test_replaced_hash_is_stored(tenants: Tenants) -> None:
    tenant = a_tenant()
    await tenants.add(tenant)
    await tenants.replace_hash(tenant, "stronger")
    found = await tenants.find_by_email(tenant.email)
    assert found is not None
    assert found.password_hash == "stronger"


async def test_replacing_a_hash_that_changed_meanwhile_keeps_the_new_one(tenants: Tenants) -> None:
    tenant = a_tenant()
    await tenants.add(tenant)
    await tenants.replace_hash(tenant, "of a new password")
    await tenants.replace_hash(tenant, "of the old password")
    found = await tenants.find_by_email(tenant.email)
    assert found is not None
    assert found.password_hash == "of a new password"
