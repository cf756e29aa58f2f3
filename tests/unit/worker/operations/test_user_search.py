"""user.search"""

import pytest

from shared.contracts.errors import Forbidden
from shared.contracts.permissions import Permission
from shared.contracts.user import User
from shared.contracts.user_delete import USER_DELETE
from shared.contracts.user_list import NO_CURSOR
from shared.contracts.user_search import USER_SEARCH
from tests.unit.worker.in_memory import InMemoryWorker
from tests.unit.worker.operators import operator_on


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("ann", ["bank", "shop"]),
        ("ann@example.com", ["bank", "shop"]),
        ("Ann@Example.com", ["bank", "shop"]),
        ("bob@corp.example", ["bank"]),
        ("an", []),
        ("nn@example.com", []),
    ],
)
async def test_search_finds_a_whole_login_or_email_in_every_tenant(
    worker: InMemoryWorker, shop: str, ann: User, q: str, found: list[str]
) -> None:
    """Each user names its tenant."""
    operator = await operator_on(worker, shop)
    bank = await worker.register("bank@example.com")
    tenants = {ann.tenant: "shop", (await worker.create(bank)).tenant: "bank"}
    await worker.create(bank, "bob", email="bob@corp.example")
    users = (await worker.call(USER_SEARCH, tenantToken=operator.token, q=q)).users
    assert sorted(tenants[user.tenant] for user in users) == found


async def test_search_pages_through_all_matches_and_leaves_deleted_users_out(worker: InMemoryWorker, shop: str) -> None:
    operator = await operator_on(worker, shop)
    wanted = set()
    for number in range(5):
        tenant = await worker.register(f"{number}@example.com")
        user = await worker.create(tenant)
        if number:
            wanted.add(user.id)
        else:
            await worker.call(USER_DELETE, tenantToken=tenant, login="ann")
    seen, cursor = [], NO_CURSOR
    for _ in range(3):
        page = await worker.call(USER_SEARCH, tenantToken=operator.token, q="ann", cursor=cursor, limit=2)
        seen += [user.id for user in page.users]
        cursor = page.next_cursor
        if cursor == NO_CURSOR:
            break
    assert (len(seen), set(seen)) == (4, wanted)


@pytest.mark.parametrize("missing", [Permission.TENANTS_READ, Permission.USERS_READ])
async def test_search_needs_both_permissions(worker: InMemoryWorker, shop: str, missing: Permission) -> None:
    operator = await operator_on(worker, shop, frozenset({Permission.TENANTS_READ, Permission.USERS_READ} - {missing}))
    with pytest.raises(Forbidden) as refused:
        await worker.call(USER_SEARCH, tenantToken=operator.token, q="ann")
    assert refused.value.details == {"permission": missing}
    with pytest.raises(Forbidden):
        await worker.call(USER_SEARCH, tenantToken=shop, q="ann")
