"""tenant.list"""

from datetime import timedelta
from typing import Any

import pytest

from shared.contracts.errors import Forbidden, InvalidRequest, InvalidTenantToken
from shared.contracts.permissions import OPERATOR_PERMISSIONS, TENANT_PERMISSIONS, Permission
from shared.contracts.tenant import MAX_EXACT_COUNT, Count, Tenant
from shared.contracts.tenant_list import TENANT_LIST
from shared.contracts.tenant_logout import TENANT_LOGOUT
from shared.contracts.user_delete import USER_DELETE
from shared.contracts.user_list import NO_CURSOR
from tests.fakes import NOW
from tests.records import a_session, a_user
from tests.unit.worker.in_memory import InMemoryWorker
from tests.unit.worker.operators import Operator, operator_on
from tests.unit.worker.test_principal import a_key, access_token
from worker.domain.tenant_counts import MAX_AGE
from worker.domain.views import milliseconds
from worker.sweeper import Sweeper


@pytest.fixture
async def operator(worker: InMemoryWorker, shop: str) -> Operator:
    return await operator_on(worker, shop)


async def listed(worker: InMemoryWorker, operator: Operator, **query: Any) -> list[Tenant]:
    return list((await worker.call(TENANT_LIST, tenantToken=operator.token, **query)).tenants)


async def test_list_pages_through_all_tenants_in_order_of_email(worker: InMemoryWorker, operator: Operator) -> None:
    for number in range(5):
        await worker.register(f"{number}@example.com")
    seen, cursor = [], NO_CURSOR
    for _ in range(4):
        page = await worker.call(TENANT_LIST, tenantToken=operator.token, cursor=cursor, limit=2)
        seen += [tenant.email for tenant in page.tenants]
        cursor = page.next_cursor
        if cursor == NO_CURSOR:
            break
    numbered = [f"{number}@example.com" for number in range(5)]
    assert seen == [*numbered, "office@example.com", "shop@example.com"]
    assert cursor == NO_CURSOR


@pytest.mark.parametrize(("q", "found"), [("SHOP", ["shop"]), ("o", ["office", "shop"]), (".*", []), ("nobody", [])])
async def test_search_finds_a_part_of_the_email_in_any_case(
    worker: InMemoryWorker, operator: Operator, q: str, found: list[str]
) -> None:
    await worker.register("bank@bnk.test")
    assert [tenant.email.partition("@")[0] for tenant in await listed(worker, operator, q=q)] == found


@pytest.mark.usefixtures("ann")
async def test_small_tenant_is_counted_exactly(worker: InMemoryWorker, operator: Operator, shop: str) -> None:
    """Deleted users and revoked sessions do not count, and neither do sessions of the tenant itself."""
    await worker.create(shop, "bob")
    for login in ("ann", "ann", "bob"):
        await worker.login(shop, login)
    await worker.call(USER_DELETE, tenantToken=shop, login="bob")
    [tenant] = await listed(worker, operator, q="shop")
    assert tenant.id == operator.shop
    assert (tenant.registered_at, tenant.disabled) == (milliseconds(NOW), False)
    assert tenant.users == Count(value=1, exact=True, at=milliseconds(NOW))
    assert tenant.sessions == Count(value=2, exact=True, at=milliseconds(NOW))
    worker.clock.advance(timedelta(days=30))
    assert await worker.ports.sessions.count_of_users(operator.shop, worker.clock.now(), 10) == 0


async def add_users(worker: InMemoryWorker, tenant: str, number: int) -> None:
    for _ in range(number):
        await worker.users.add(a_user(tenant=tenant))


async def test_large_tenant_is_counted_by_the_sweep_and_dated(worker: InMemoryWorker, operator: Operator) -> None:
    await add_users(worker, operator.shop, MAX_EXACT_COUNT + 1)
    for _ in range(4):
        await worker.sessions.add(a_session(tenant=operator.shop, user="ann"))
    [tenant] = await listed(worker, operator, q="shop")
    assert tenant.users == Count(value=MAX_EXACT_COUNT + 1, exact=False, at=None)
    assert tenant.sessions == Count(value=4, exact=True, at=milliseconds(NOW))
    assert await Sweeper(worker.ports).count() == 1
    assert await Sweeper(worker.ports).count() == 0
    await add_users(worker, operator.shop, 1)
    worker.clock.advance(timedelta(seconds=1))
    [tenant] = await listed(worker, operator, q="shop")
    assert tenant.users == Count(value=MAX_EXACT_COUNT + 1, exact=False, at=milliseconds(NOW))
    assert await Sweeper(worker.ports).count() == 0
    worker.clock.advance(MAX_AGE)
    await listed(worker, operator, q="shop")
    assert await Sweeper(worker.ports).count() == 1
    [tenant] = await listed(worker, operator, q="shop")
    assert tenant.users.value == MAX_EXACT_COUNT + 2


async def test_tenant_with_exactly_a_thousand_users_is_counted_exactly(
    worker: InMemoryWorker, operator: Operator
) -> None:
    await add_users(worker, operator.shop, MAX_EXACT_COUNT)
    [tenant] = await listed(worker, operator, q="shop")
    assert (tenant.users.value, tenant.users.exact) == (MAX_EXACT_COUNT, True)
    assert await Sweeper(worker.ports).count() == 0


async def test_another_workers_lease_leaves_a_count_to_it(worker: InMemoryWorker, operator: Operator) -> None:
    await add_users(worker, operator.shop, MAX_EXACT_COUNT + 1)
    await listed(worker, operator)
    worker.sweep_leases.held[f"count {operator.shop}"] = ("another", NOW + timedelta(minutes=1))
    assert await Sweeper(worker.ports).count() == 0
    worker.clock.advance(timedelta(minutes=1))
    assert await Sweeper(worker.ports).count() == 1


async def test_wrong_cursor_is_refused(worker: InMemoryWorker, operator: Operator) -> None:
    with pytest.raises(InvalidRequest, match="cursor"):
        await listed(worker, operator, cursor="!")


async def test_only_an_operator_with_the_permission_may_list(worker: InMemoryWorker, shop: str) -> None:
    """Not the operators' own tenant either, whose token has all permissions of a tenant."""
    session, key = await a_key(worker, shop, permissions=TENANT_PERMISSIONS)
    operator = await operator_on(worker, shop, OPERATOR_PERMISSIONS - {Permission.TENANTS_READ})
    for credential in (shop, key, access_token(worker, session, "tenants:read"), operator.token):
        with pytest.raises(Forbidden) as refused:
            await worker.call(TENANT_LIST, tenantToken=credential)
        assert refused.value.details == {"permission": "tenants:read"}
    await worker.call(TENANT_LOGOUT, token=shop)
    for credential in (shop, "a.b.c"):
        with pytest.raises(InvalidTenantToken):
            await worker.call(TENANT_LIST, tenantToken=credential)
