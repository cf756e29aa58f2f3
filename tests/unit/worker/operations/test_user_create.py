"""user.create"""

from typing import Any

import pytest

from shared.contracts.errors import LoginTaken
from shared.contracts.user import User
from shared.contracts.user_create import USER_CREATE
from tests.fakes import NOW
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker

ANN: dict[str, Any] = {"login": "ann", "email": "ann@example.com", "password": PASSWORD}


async def test_created_user_is_returned_without_its_password(worker: InMemoryWorker, shop: str) -> None:
    """Dates are in milliseconds."""
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


async def test_user_creation_stores_a_hash_and_not_the_password(worker: InMemoryWorker, shop: str, ann: User) -> None:
    """A password that looks like a hash is hashed, too."""
    stored = await worker.users.find(ann.tenant, "ann")
    assert stored is not None
    assert PASSWORD not in stored.password_hash
    like_a_hash = "$2a$10$" + 53 * "a"
    await worker.create(shop, "bob", password=like_a_hash)
    bob = await worker.users.find(ann.tenant, "bob")
    assert bob is not None
    assert like_a_hash not in bob.password_hash
    await worker.login(shop, "bob", password=like_a_hash)


async def test_subject_defaults_to_the_id_of_the_user(worker: InMemoryWorker, shop: str) -> None:
    created = await worker.call(USER_CREATE, tenantToken=shop, **ANN)
    assert created.sub == created.id
    assert created.scope is None


async def test_creation_of_a_taken_login_is_refused(worker: InMemoryWorker, shop: str, ann: User) -> None:
    """The existing user and its password stay."""
    with pytest.raises(LoginTaken):
        await worker.call(USER_CREATE, tenantToken=shop, login="ann", email="x@example.com", password="other password")
    claims = await worker.verify(shop, await worker.login(shop, "ann"))
    assert claims.id == ann.id


async def test_login_taken_by_another_tenant_is_available(worker: InMemoryWorker, ann: User) -> None:
    bank = await worker.register("bank@example.com")
    theirs = await worker.create(bank, "ann")
    assert theirs.id != ann.id
    assert theirs.tenant != ann.tenant


async def test_redelivered_creation_returns_the_first_user(worker: InMemoryWorker, shop: str) -> None:
    first = await worker.call(USER_CREATE, "message", tenantToken=shop, **ANN)
    assert await worker.call(USER_CREATE, "message", tenantToken=shop, **ANN) == first


async def test_message_id_reused_for_another_tenant_or_login_creates_a_user(worker: InMemoryWorker, shop: str) -> None:
    first = await worker.call(USER_CREATE, "message", tenantToken=shop, **ANN)
    bank = await worker.register("bank@example.com")
    theirs = await worker.call(USER_CREATE, "message", tenantToken=bank, **ANN)
    assert theirs.id != first.id
    bob = await worker.call(USER_CREATE, "message", tenantToken=shop, **{**ANN, "login": "bob"})
    assert bob.id != first.id


@pytest.mark.parametrize("changed", [{"password": "another password"}, {"email": "x@example.com"}, {"scope": "all"}])
async def test_message_id_reused_with_other_values_is_refused(
    worker: InMemoryWorker, shop: str, changed: dict[str, str]
) -> None:
    """The first request's user is no valid answer to another request."""
    await worker.call(USER_CREATE, "message", tenantToken=shop, **ANN)
    with pytest.raises(LoginTaken):
        await worker.call(USER_CREATE, "message", tenantToken=shop, **{**ANN, **changed})
