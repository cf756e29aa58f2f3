"""audit.search"""

from datetime import timedelta

import pytest

from shared.contracts.audit_search import AUDIT_SEARCH, MAX_TENANTS_SEARCHED
from shared.contracts.auth_login import AUTH_LOGIN
from shared.contracts.errors import Forbidden, InvalidCredentials, InvalidRequest
from shared.contracts.permissions import Permission
from shared.contracts.user_list import NO_CURSOR
from tests.fakes import NOW
from tests.records import a_user
from tests.unit.worker.in_memory import InMemoryWorker
from tests.unit.worker.operators import Operator, operator_on
from worker.domain.views import milliseconds


@pytest.fixture
async def operator(worker: InMemoryWorker, shop: str) -> Operator:
    """Return an operator, after ann has been created and logged in at the shop and at the bank, an hour apart."""
    operator = await operator_on(worker, shop)
    for tenant in (shop, await worker.register("bank@example.com")):
        await worker.create(tenant)
        await worker.login(tenant)
        worker.clock.advance(timedelta(hours=1))
    return operator


async def test_search_finds_the_login_in_all_trails_the_newest_first(
    worker: InMemoryWorker, operator: Operator, shop: str
) -> None:
    await worker.create(shop, "bob")
    found = (await worker.call(AUDIT_SEARCH, tenantToken=operator.token, login="ann")).records
    assert {record.login for record in found} == {"ann"}
    assert sorted(record.type for record in found) == ["auth.login", "auth.login", "user.create", "user.create"]
    assert [record.tenant == operator.shop for record in found] == [False, False, True, True]


async def test_search_narrows_by_type_and_time_and_pages(worker: InMemoryWorker, operator: Operator) -> None:
    by_type = {"tenantToken": operator.token, "login": "ann", "type": "auth.login"}
    first = await worker.call(AUDIT_SEARCH, **by_type, limit=1)
    second = await worker.call(AUDIT_SEARCH, **by_type, limit=1, cursor=first.next_cursor)
    assert [record.tenant == operator.shop for record in (*first.records, *second.records)] == [False, True]
    assert second.next_cursor == NO_CURSOR
    until = milliseconds(NOW + timedelta(minutes=30))
    [early] = (await worker.call(AUDIT_SEARCH, **by_type, until=until)).records
    assert early.tenant == operator.shop


async def test_search_finds_the_records_of_a_tenants_own_login(worker: InMemoryWorker, operator: Operator) -> None:
    login = "tenant:bank@example.com"
    found = (await worker.call(AUDIT_SEARCH, tenantToken=operator.token, login=login)).records
    assert [record.type for record in found] == ["tenant.register"]
    assert not (await worker.call(AUDIT_SEARCH, tenantToken=operator.token, login="tenant:nobody@example.com")).records


async def test_search_finds_failed_attempts_but_not_unknown_logins(
    worker: InMemoryWorker, operator: Operator, shop: str
) -> None:
    """People type passwords into the login field, so an unknown login is never recorded."""
    for login in ("ann", "nobody"):
        with pytest.raises(InvalidCredentials):
            await worker.call(AUTH_LOGIN, tenantToken=shop, login=login, password="wrong", deviceId="d")
    [failed, *_] = (await worker.call(AUDIT_SEARCH, tenantToken=operator.token, login="ann")).records
    assert failed.outcome == "invalid_credentials"
    assert not (await worker.call(AUDIT_SEARCH, tenantToken=operator.token, login="nobody")).records


async def test_login_of_too_many_tenants_is_refused(worker: InMemoryWorker, operator: Operator) -> None:
    for number in range(MAX_TENANTS_SEARCHED + 1):
        await worker.users.add(a_user(tenant=f"tenant {number}", login="admin"))
    with pytest.raises(InvalidRequest, match=r"login: must be a login of at most 50 tenants; use audit\.list"):
        await worker.call(AUDIT_SEARCH, tenantToken=operator.token, login="admin")


async def test_search_without_a_login_is_refused(worker: InMemoryWorker, operator: Operator) -> None:
    with pytest.raises(ValueError, match="login"):
        await worker.call(AUDIT_SEARCH, tenantToken=operator.token)


@pytest.mark.parametrize("missing", [Permission.TENANTS_READ, Permission.AUDIT_READ])
async def test_search_needs_both_permissions(worker: InMemoryWorker, shop: str, missing: Permission) -> None:
    operator = await operator_on(worker, shop, frozenset({Permission.TENANTS_READ, Permission.AUDIT_READ} - {missing}))
    with pytest.raises(Forbidden) as refused:
        await worker.call(AUDIT_SEARCH, tenantToken=operator.token, login="ann")
    assert refused.value.details == {"permission": missing}
    with pytest.raises(Forbidden):
        await worker.call(AUDIT_SEARCH, tenantToken=shop, login="ann")
