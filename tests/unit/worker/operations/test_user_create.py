"""user.create"""

from typing import Any

import pytest

from shared.contracts.errors import LoginTaken
from shared.contracts.user import User
from shared.contracts.user_create import USER_CREATE
from tests.fakes import NOW
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker

ANN: dict[str, Any] = {"login": "ann", "email": "ann@example.com", "password": PASSWORD}


async def test_a_user_is_answered_without_its_password(worker: InMemoryWorker, shop: str) -> None:
    """The answer is the account with its dates in milliseconds, and no word of the password."""
    created = await worker.call(USER_CREATE, tenantToken=shop, **ANN, sub="007", scope={"read": True})
    tenant = (await worker.session_of(shop)).tenant
    milliseconds = int(NOW.timestamp()) * 1000
    assert created.model_dump() == {
        "id": created.id,
        "login": "ann",
        "email": "ann@example.com",
        "tenant": tenant,
        "scope": {"read": True},
        "sub": "007",
        "registrationDate": milliseconds,
        "lastActivity": milliseconds,
    }


async def test_what_is_stored_is_no_password(worker: InMemoryWorker, shop: str, ann: User) -> None:
    """The store gets a hash and never the password, even one that looks like a hash."""
    stored = await worker.users.find(ann.tenant, "ann")
    assert stored is not None
    assert PASSWORD not in stored.password_hash
    like_a_hash = "$2a$10$" + 53 * "a"
    await worker.create(shop, "bob", password=like_a_hash)
    bob = await worker.users.find(ann.tenant, "bob")
    assert bob is not None
    assert like_a_hash not in bob.password_hash
    await worker.login(shop, "bob", password=like_a_hash)


async def test_the_subject_is_the_id_unless_given(worker: InMemoryWorker, shop: str) -> None:
    """A user without a `sub` of the tenant's is its own subject, and has no scope."""
    created = await worker.call(USER_CREATE, tenantToken=shop, **ANN)
    assert created.sub == created.id
    assert created.scope is None


async def test_a_login_is_taken(worker: InMemoryWorker, shop: str, ann: User) -> None:
    """A second user of one login is refused, and the first one and its password stay."""
    with pytest.raises(LoginTaken):
        await worker.call(USER_CREATE, tenantToken=shop, login="ann", email="x@example.com", password="other password")
    claims = await worker.verify(shop, await worker.login(shop, "ann"))
    assert claims.id == ann.id


async def test_two_tenants_use_one_login(worker: InMemoryWorker, ann: User) -> None:
    """A login is a tenant's own."""
    bank = await worker.register("bank@example.com")
    theirs = await worker.create(bank, "ann")
    assert theirs.id != ann.id
    assert theirs.tenant != ann.tenant


async def test_the_same_request_delivered_twice(worker: InMemoryWorker, shop: str) -> None:
    """A redelivered creation answers with the user that it created first."""
    first = await worker.call(USER_CREATE, "message", tenantToken=shop, **ANN)
    assert await worker.call(USER_CREATE, "message", tenantToken=shop, **ANN) == first


async def test_another_request_with_the_same_message_id(worker: InMemoryWorker, shop: str) -> None:
    """A message id names a request of one tenant: elsewhere it finds nothing."""
    first = await worker.call(USER_CREATE, "message", tenantToken=shop, **ANN)
    bank = await worker.register("bank@example.com")
    theirs = await worker.call(USER_CREATE, "message", tenantToken=bank, **ANN)
    assert theirs.id != first.id
    bob = await worker.call(USER_CREATE, "message", tenantToken=shop, **{**ANN, "login": "bob"})
    assert bob.id != first.id


@pytest.mark.parametrize("changed", [{"password": "another password"}, {"email": "x@example.com"}, {"scope": "all"}])
async def test_a_different_request_under_the_same_message_id(
    worker: InMemoryWorker, shop: str, changed: dict[str, str]
) -> None:
    """It is not the request that made the user, so it does not get the user for an answer."""
    await worker.call(USER_CREATE, "message", tenantToken=shop, **ANN)
    with pytest.raises(LoginTaken):
        await worker.call(USER_CREATE, "message", tenantToken=shop, **{**ANN, **changed})
