"""user.update"""

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.contracts.errors import InvalidCredentials, InvalidToken, UserNotFound
from shared.contracts.events import RevocationReason
from shared.contracts.user import User
from shared.contracts.user_list import USER_LIST
from shared.contracts.user_update import USER_UPDATE
from tests.fakes import FakeHasher
from tests.records import a_key
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker

NEW_PASSWORD = "another fine password"


async def stored(worker: InMemoryWorker, tenant_token: str) -> tuple[User, ...]:
    return (await worker.call(USER_LIST, tenantToken=tenant_token)).users


@pytest.mark.parametrize(
    ("fields", "attributes"),
    [
        ({"email": "new@example.com"}, {"email": "new@example.com"}),
        ({"sub": "007"}, {"sub": "007"}),
        ({"scope": "all"}, {"scope": "all"}),
        ({"scope": {"a": {"b.$c": None}}}, {"scope": {"a": {"b.$c": None}}}),
        ({"scope": None}, {"scope": None}),
        (
            {"email": "new@example.com", "sub": "007", "scope": "all"},
            {"email": "new@example.com", "sub": "007", "scope": "all"},
        ),
    ],
)
async def test_update_writes_only_the_given_members(
    worker: InMemoryWorker, shop: str, fields: dict[str, Any], attributes: dict[str, Any]
) -> None:
    """Null removes a scope."""
    before = await worker.create(shop, "ann", scope="some", sub="001")
    bystander = await worker.create(shop, "bob")
    answer = await worker.call(USER_UPDATE, tenantToken=shop, login="ann", **fields)
    assert answer == before.model_copy(update=attributes)
    assert await stored(worker, shop) == (answer, bystander)


@pytest.mark.usefixtures("ann")
async def test_update_without_a_password_keeps_sessions_and_their_claims(worker: InMemoryWorker, shop: str) -> None:
    token = await worker.login(shop)
    await worker.call(USER_UPDATE, tenantToken=shop, login="ann", scope="all", email="new@example.com", sub="007")
    assert (await worker.verify(shop, token)).scope is None
    assert worker.events.announced == []
    assert (await worker.verify(shop, await worker.login(shop))).scope == "all"


@pytest.mark.usefixtures("ann")
async def test_new_user_password_replaces_the_old_one(worker: InMemoryWorker, shop: str) -> None:
    await worker.call(USER_UPDATE, tenantToken=shop, login="ann", password=NEW_PASSWORD)
    await worker.login(shop, password=NEW_PASSWORD)
    with pytest.raises(InvalidCredentials):
        await worker.login(shop, password=PASSWORD)


@pytest.mark.usefixtures("ann")
async def test_new_user_password_revokes_and_announces_all_sessions(worker: InMemoryWorker, shop: str) -> None:
    """Sessions of other users stay live."""
    tokens = [await worker.login(shop) for _ in range(3)]
    await worker.create(shop, "bob")
    bystander = await worker.login(shop, "bob")
    await worker.call(USER_UPDATE, tenantToken=shop, login="ann", password=NEW_PASSWORD, scope="all")
    for token in tokens:
        with pytest.raises(InvalidToken):
            await worker.verify(shop, token)
    ended = [(await worker.session_of(token)).id for token in tokens]
    assert worker.events.reasons == dict.fromkeys(ended, RevocationReason.PASSWORD_CHANGED)
    assert (await worker.verify(shop, bystander)).login == "bob"
    assert [user.scope for user in await stored(worker, shop)] == ["all", None]


async def test_completed_update_leaves_nothing_for_the_sweep(worker: InMemoryWorker, shop: str, ann: User) -> None:
    """The user can log in at once."""
    await worker.call(USER_UPDATE, tenantToken=shop, login="ann", password=NEW_PASSWORD)
    assert await worker.users.tenants_with_unfinished_revocations(datetime.max.replace(tzinfo=UTC)) == []
    token = await worker.login(shop, password=NEW_PASSWORD)
    assert (await worker.verify(shop, token)).id == ann.id


async def test_update_of_an_unknown_user_is_refused_without_a_hash() -> None:
    hasher = FakeHasher()
    worker = InMemoryWorker(hasher=hasher)
    shop = await worker.register()
    before = hasher.work
    for fields in ({"scope": "all"}, {"password": NEW_PASSWORD}):
        with pytest.raises(UserNotFound):
            await worker.call(USER_UPDATE, tenantToken=shop, login="nobody", **fields)
    assert hasher.work == before
    assert await stored(worker, shop) == ()


async def test_update_of_a_user_deleted_during_the_hash_is_refused() -> None:

    class DeletedMeanwhile(FakeHasher):
        async def hash(self, password: str) -> str:
            if password == NEW_PASSWORD:
                (ann,) = await stored(worker, shop)
                await worker.users.decide_revocation(ann.tenant, "ann", RevocationReason.USER_DELETED, a_key())
            return await super().hash(password)

    worker = InMemoryWorker(hasher=DeletedMeanwhile())
    shop = await worker.register()
    await worker.create(shop)
    with pytest.raises(UserNotFound):
        await worker.call(USER_UPDATE, tenantToken=shop, login="ann", password=NEW_PASSWORD)
