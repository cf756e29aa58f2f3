"""The contract of `Users` for repeated requests, for the fake and MongoDB."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.contracts.errors import LoginTaken, UserNotFound
from shared.contracts.events import RevocationReason
from tests.fakes import NOW, FakeUsers
from tests.records import a_key, a_user
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_users import MongoUsers
from worker.domain.ports import Users
from worker.domain.records import (
    IDEMPOTENCY_WINDOW,
    MAX_IDEMPOTENCY_KEYS,
    IdempotencyKey,
    StoredUser,
    UserChanges,
    UserRevocation,
)

LATER = NOW + timedelta(days=1)
REASONS = [RevocationReason.ALL_REVOKED, RevocationReason.PASSWORD_CHANGED, RevocationReason.USER_DELETED]


@pytest.fixture(params=["fake", "mongo"])
def users(request: pytest.FixtureRequest) -> Users:
    if request.param == "fake":
        return FakeUsers()
    return MongoUsers(request.getfixturevalue("mongo_database"))


async def added(users: Users, **changes: Any) -> StoredUser:
    return await users.add(a_user(login="ann", **changes))


async def change(users: Users, key: IdempotencyKey, **fields: Any) -> StoredUser:
    return await users.change("shop", "ann", UserChanges(fields), key)


async def decide(users: Users, reason: RevocationReason, key: IdempotencyKey) -> UserRevocation:
    changes = UserChanges({"sub": key.value}) if reason is RevocationReason.PASSWORD_CHANGED else None
    return await users.decide_revocation("shop", "ann", reason, key, changes)


async def delete(users: Users, key: IdempotencyKey | None = None) -> None:
    await users.finish_revocation(await decide(users, RevocationReason.USER_DELETED, key or a_key()))


async def test_repeated_change_writes_nothing_and_returns_the_current_user(users: Users) -> None:
    user = await added(users)
    key = a_key()
    assert await change(users, key, email="first@example.com") == replace(user, email="first@example.com")
    later = await change(users, a_key(), email="second@example.com")
    assert await change(users, key, email="first@example.com") == later
    assert await users.find("shop", "ann") == later


async def test_concurrent_deliveries_of_a_change_write_it_once(users: Users) -> None:
    """A different change among the deliveries is written too."""
    user = await added(users)
    key = a_key()
    await asyncio.gather(
        *(change(users, key, sub="other") for _ in range(10)),
        change(users, a_key(), email="new@example.com"),
        *(change(users, key, sub="other") for _ in range(10)),
    )
    assert await users.find("shop", "ann") == replace(user, sub="other", email="new@example.com")


@pytest.mark.parametrize("reason", REASONS)
async def test_repeated_decision_is_the_first_decision(users: Users, reason: RevocationReason) -> None:
    """The result is the same after the decision is finished."""
    user = await added(users)
    key = a_key()
    decision = await decide(users, reason, key)
    assert decision == UserRevocation("shop", user.login, user.id, 1, reason)
    assert await decide(users, reason, key) == decision
    assert await users.unfinished_revocations("shop", LATER, 10) == [decision]
    await users.finish_revocation(decision)
    assert await decide(users, reason, key) == decision
    assert await users.unfinished_revocations("shop", LATER, 10) == []


@pytest.mark.parametrize("reason", REASONS)
async def test_concurrent_deliveries_of_a_decision_make_one_decision(users: Users, reason: RevocationReason) -> None:
    await added(users)
    key = a_key()
    assert len(set(await asyncio.gather(*(decide(users, reason, key) for _ in range(20))))) == 1


async def test_repeated_decision_after_a_later_one_is_the_first_decision(users: Users) -> None:
    """The later decision is neither finished nor undone."""
    await added(users)
    keys = a_key(), a_key()
    first, second = [await decide(users, RevocationReason.PASSWORD_CHANGED, key) for key in keys]
    assert await decide(users, RevocationReason.PASSWORD_CHANGED, keys[0]) == first
    await users.finish_revocation(first)
    found = await users.find("shop", "ann")
    assert found is not None
    assert (found.generation, found.sub) == (2, keys[1].value)
    assert await users.unfinished_revocations("shop", LATER, 10) == [second]


@pytest.mark.parametrize("reason", REASONS)
async def test_repeated_decision_of_a_deleted_user_is_the_first_decision(
    users: Users, reason: RevocationReason
) -> None:
    """A new user with the same login is not affected."""
    await added(users)
    key = a_key()
    decision = await decide(users, reason, key)
    await users.finish_revocation(decision)
    if reason is not RevocationReason.USER_DELETED:
        await delete(users)
    assert await decide(users, reason, key) == decision
    successor = await added(users)
    assert await decide(users, reason, key) == decision
    await users.finish_revocation(decision)
    assert await users.find("shop", "ann") == successor


async def test_repeated_change_of_a_deleted_user_is_refused(users: Users) -> None:
    """A new user with the same login is not affected."""
    await added(users)
    key = a_key()
    await change(users, key, sub="other")
    deletion = await decide(users, RevocationReason.USER_DELETED, a_key())
    with pytest.raises(UserNotFound):
        await change(users, key, sub="other")
    await users.finish_revocation(deletion)
    with pytest.raises(UserNotFound):
        await change(users, key, sub="other")
    successor = await added(users)
    with pytest.raises(UserNotFound):
        await change(users, key, sub="other")
    assert await users.find("shop", "ann") == successor


async def test_repeated_creation_returns_the_first_user_as_it_is_now(users: Users) -> None:
    """Any other request finds the login taken, also after the user was deleted."""
    user = await added(users, idempotency_key="request")
    repeated = a_user(login="ann", idempotency_key="request", registered_at=NOW + timedelta(minutes=1))
    assert await users.add(repeated) == user
    changed = await change(users, a_key(), email="new@example.com")
    assert await users.add(repeated) == changed
    with pytest.raises(LoginTaken):
        await added(users)
    await delete(users)
    with pytest.raises(LoginTaken):
        await users.add(repeated)
    assert await users.find("shop", "ann") is None


async def test_concurrent_deliveries_of_a_creation_create_one_user(users: Users) -> None:
    answers = await asyncio.gather(*(added(users, idempotency_key="request") for _ in range(20)))
    assert len({user.id for user in answers}) == 1
    assert await users.page("shop", "", "", 10) == [answers[0]]


Step = Callable[[Users, IdempotencyKey], Awaitable[object]]
STEPS: dict[str, Step] = {
    "change": lambda users, key: change(users, key, sub="other"),
    "decide": lambda users, key: decide(users, RevocationReason.ALL_REVOKED, key),
    "delete": delete,
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("other", [{"tenant": "bank"}, {"login": "bob"}])
async def test_key_used_for_one_user_is_new_for_another(users: Users, step: Step, other: dict[str, str]) -> None:
    await added(users)
    other_user = await users.add(a_user(**{"login": "ann", **other}))
    key = a_key()
    await step(users, key)
    assert await users.find(other_user.tenant, other_user.login) == other_user
    decision = await users.decide_revocation(other_user.tenant, other_user.login, RevocationReason.USER_DELETED, key)
    assert decision.user == other_user.id


async def test_key_after_the_window_is_a_new_request(users: Users) -> None:
    await added(users)
    key = a_key()
    last = replace(key, at=key.at + IDEMPOTENCY_WINDOW - timedelta(milliseconds=1))
    expired = replace(key, at=key.at + IDEMPOTENCY_WINDOW)
    await change(users, key, sub="first")
    assert (await change(users, last, sub="second")).sub == "first"
    assert (await change(users, expired, sub="second")).sub == "second"
    key = a_key()
    decisions = [
        await decide(users, RevocationReason.ALL_REVOKED, replace(each, value=key.value)) for each in (last, last)
    ]
    assert [decision.generation for decision in decisions] == [1, 1]
    repeated = replace(key, at=last.at + IDEMPOTENCY_WINDOW)
    assert (await decide(users, RevocationReason.ALL_REVOKED, repeated)).generation == 2


async def test_repeated_deletion_after_the_window_finds_no_user(users: Users) -> None:
    await added(users)
    key = a_key()
    await delete(users, key)
    await delete(users, key)
    with pytest.raises(UserNotFound):
        await delete(users, replace(key, at=key.at + IDEMPOTENCY_WINDOW))


async def test_stored_keys_beyond_the_limit_drop_the_oldest(users: Users) -> None:
    await added(users)
    keys = [a_key() for _ in range(MAX_IDEMPOTENCY_KEYS + 1)]
    for key in keys:
        await change(users, key, sub=key.value)
    for key in keys[1:]:
        assert (await change(users, key, sub="other")).sub == keys[-1].value
    assert (await change(users, keys[0], sub="other")).sub == "other"


async def test_user_stored_without_keys_is_changed_and_deleted_once(mongo_database: MongoDatabase) -> None:
    """Users stored by an older version have no keys."""
    users = MongoUsers(mongo_database)
    user = await added(users)
    await mongo_database.collection("users").update_one({"_id": user.id}, {"$unset": {"marks": ""}})
    with pytest.raises(LoginTaken):
        await users.add(replace(user, id="another"))
    key = a_key()
    decision = await decide(users, RevocationReason.ALL_REVOKED, key)
    assert await decide(users, RevocationReason.ALL_REVOKED, key) == decision
    await mongo_database.collection("users").update_one({"_id": user.id}, {"$unset": {"marks": ""}})
    assert (await change(users, key, sub="other")).sub == "other"
    await mongo_database.collection("users").update_one({"_id": user.id}, {"$unset": {"marks": ""}})
    key = a_key()
    for _ in range(2):
        await delete(users, key)
    assert await users.find("shop", "ann") is None


async def test_deleted_user_leaves_only_its_login_and_keys_for_the_window(mongo_database: MongoDatabase) -> None:
    users = MongoUsers(mongo_database)
    user = await added(users)
    key = a_key()
    await delete(users, key)
    stored = await mongo_database.collection("deletions").find({}).to_list(10)
    created = {"by": user.idempotency_key, "at": NOW}
    deleted = {"by": key.value, "at": NOW, "generation": 1}
    assert stored == [{"_id": user.id, "tenant": "shop", "login": "ann", "marks": [created, deleted], "at": key.at}]
    indexes = await mongo_database.collection("deletions").index_information()
    assert indexes["at_1"]["expireAfterSeconds"] == IDEMPOTENCY_WINDOW.total_seconds()
