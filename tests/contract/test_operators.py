"""The contract of `Users` for operator permissions, for the fake and MongoDB."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from shared.contracts.errors import EmailTaken, LoginTaken
from shared.contracts.events import RevocationReason
from shared.contracts.permissions import Permission
from tests.fakes import FakeTenants, FakeUsers
from tests.records import a_key, a_tenant, a_user
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers
from worker.domain.ports import Tenants, Users
from worker.domain.records import StoredUser

READ, WRITE, AUDIT = Permission.USERS_READ, Permission.OPERATORS_WRITE, Permission.AUDIT_READ


@pytest.fixture(params=["fake", "mongo"])
def users(request: pytest.FixtureRequest) -> Users:
    if request.param == "fake":
        return FakeUsers()
    return MongoUsers(request.getfixturevalue("mongo_database"))


@pytest.fixture(params=["fake", "mongo"])
def tenants(request: pytest.FixtureRequest) -> Tenants:
    if request.param == "fake":
        return FakeTenants()
    return MongoTenants(request.getfixturevalue("mongo_database"))


async def added(users: Users, login: str, *permissions: Permission, tenant: str = "office") -> StoredUser:
    return await users.add(a_user(login=login, tenant=tenant, operator_permissions=frozenset(permissions)))


def logins(found: Sequence[StoredUser]) -> list[str]:
    return [user.login for user in found]


async def test_added_operator_is_found_with_its_permissions(users: Users) -> None:
    olga = await added(users, "olga", READ, WRITE)
    assert await users.find("office", "olga") == olga


async def test_user_of_a_taken_id_is_refused(users: Users) -> None:
    """Concurrent bootstrap commands make users of one id, with any logins."""
    olga = await added(users, "olga", WRITE)
    for login in ("olga", "eve"):
        with pytest.raises(LoginTaken):
            await users.add(a_user(id=olga.id, tenant="office", login=login))
    assert await users.find("office", "olga") == olga


async def test_tenant_of_a_taken_id_is_refused(tenants: Tenants) -> None:
    await tenants.add(a_tenant(id="office", email="one@example.com"))
    with pytest.raises(EmailTaken):
        await tenants.add(a_tenant(id="office", email="two@example.com"))
    assert await tenants.find_by_email("two@example.com") is None


async def test_operators_are_listed_in_order_by_tenant_and_permission(users: Users) -> None:
    await added(users, "olga", READ, WRITE)
    await added(users, "ada", AUDIT, READ)
    await added(users, "oskar")
    await added(users, "eve", READ, tenant="other")
    assert logins(await users.operators("office", 10)) == ["ada", "olga"]
    assert logins(await users.operators("office", 1)) == ["ada"]
    assert logins(await users.operators("office", 10, WRITE)) == ["olga"]
    assert logins(await users.operators(None, 10)) == ["ada", "eve", "olga"]
    assert logins(await users.operators("nowhere", 10)) == []


async def test_deleted_operator_is_not_listed(users: Users) -> None:
    await added(users, "olga", WRITE)
    await users.decide_revocation("office", "olga", RevocationReason.USER_DELETED, a_key())
    assert await users.operators("office", 10) == []


async def test_replaced_permissions_are_stored_and_listed(users: Users) -> None:
    oskar = await added(users, "oskar")
    changed = await users.replace_operator_permissions(oskar, {READ, WRITE}, a_key())
    assert changed == replace(oskar, operator_permissions=frozenset({READ, WRITE}))
    assert await users.find("office", "oskar") == changed
    assert logins(await users.operators("office", 10, WRITE)) == ["oskar"]
    assert changed is not None
    assert await users.replace_operator_permissions(changed, frozenset(), a_key()) == oskar
    assert await users.find("office", "oskar") == oskar
    assert await users.operators("office", 10) == []


async def test_permissions_changed_meanwhile_are_not_replaced(users: Users) -> None:
    seen = await added(users, "olga", READ)
    await users.replace_operator_permissions(seen, {READ, AUDIT}, a_key())
    assert await users.replace_operator_permissions(seen, {WRITE}, a_key()) is None
    [olga] = await users.operators("office", 10)
    assert olga.operator_permissions == {READ, AUDIT}


async def test_concurrent_replacements_of_the_same_permissions_succeed_once(users: Users) -> None:
    seen = await added(users, "olga", READ)
    results = await asyncio.gather(
        *(users.replace_operator_permissions(seen, {READ, each}, a_key()) for each in (WRITE, AUDIT))
    )
    assert sum(result is not None for result in results) == 1


async def test_repeated_replacement_writes_nothing(users: Users) -> None:
    seen, key = await added(users, "olga", READ), a_key()
    await users.replace_operator_permissions(seen, {WRITE}, key)
    [first] = await users.operators("office", 10)
    await users.replace_operator_permissions(first, {AUDIT}, a_key())
    [current] = await users.operators("office", 10)
    for known in (seen, current):
        assert await users.replace_operator_permissions(known, {WRITE}, key) == current
    assert await users.operators("office", 10) == [current]


async def test_permissions_of_a_deleted_user_are_not_replaced(users: Users) -> None:
    olga = await added(users, "olga", READ)
    await users.decide_revocation("office", "olga", RevocationReason.USER_DELETED, a_key())
    assert await users.replace_operator_permissions(olga, {WRITE}, a_key()) is None


async def test_permission_of_a_newer_version_gives_nothing(mongo_database: MongoDatabase) -> None:
    users = MongoUsers(mongo_database)
    await added(users, "olga", READ)
    change = {"$set": {"operator_permissions": ["moon:write", "users:read"]}}
    await mongo_database.collection("users").update_one({"login": "olga"}, change)
    [olga] = await users.operators("office", 10)
    assert olga.operator_permissions == {READ}
    assert await users.replace_operator_permissions(olga, frozenset(), a_key()) is None


async def test_user_without_permissions_is_not_in_the_index(mongo_database: MongoDatabase) -> None:
    """A million users of all tenants cost it nothing."""
    users = MongoUsers(mongo_database)
    olga = await added(users, "olga", READ)
    await users.replace_operator_permissions(olga, frozenset(), a_key())
    assert await mongo_database.collection("users").count_documents({"operator_permissions": {"$exists": True}}) == 0
