"""Idempotency of every `Users`: a request changes a user once, however often it is delivered."""

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
ENDINGS = [RevocationReason.ALL_REVOKED, RevocationReason.PASSWORD_CHANGED, RevocationReason.USER_DELETED]


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


async def test_a_change_is_written_once(users: Users) -> None:
    """The second time nothing is written, and the answer is the user as it is."""
    user = await added(users)
    key = a_key()
    assert await change(users, key, email="first@example.com") == replace(user, email="first@example.com")
    later = await change(users, a_key(), email="second@example.com")
    assert await change(users, key, email="first@example.com") == later
    assert await users.find("shop", "ann") == later


async def test_a_change_at_once_is_written_once(users: Users) -> None:
    """Of 20 concurrent deliveries, with another change among them, none undoes the other."""
    user = await added(users)
    key = a_key()
    await asyncio.gather(
        *(change(users, key, sub="other") for _ in range(10)),
        change(users, a_key(), email="new@example.com"),
        *(change(users, key, sub="other") for _ in range(10)),
    )
    assert await users.find("shop", "ann") == replace(user, sub="other", email="new@example.com")


@pytest.mark.parametrize("reason", ENDINGS)
async def test_an_ending_is_decided_once(users: Users, reason: RevocationReason) -> None:
    """The same request gets the decision that it made, until it is finished and after."""
    user = await added(users)
    key = a_key()
    ending = await decide(users, reason, key)
    assert ending == UserRevocation("shop", user.id, 1, reason)
    assert await decide(users, reason, key) == ending
    assert await users.unfinished_revocations("shop", LATER, 10) == [ending]
    await users.finish_revocation(ending)
    assert await decide(users, reason, key) == ending
    assert await users.unfinished_revocations("shop", LATER, 10) == []


@pytest.mark.parametrize("reason", ENDINGS)
async def test_an_ending_at_once_is_decided_once(users: Users, reason: RevocationReason) -> None:
    """Of 20 concurrent deliveries all answer one decision."""
    await added(users)
    key = a_key()
    assert len(set(await asyncio.gather(*(decide(users, reason, key) for _ in range(20))))) == 1


async def test_an_ending_is_the_same_after_a_later_one(users: Users) -> None:
    """Who decided first gets the first decision, and the later one is neither finished nor undone."""
    await added(users)
    keys = a_key(), a_key()
    first, second = [await decide(users, RevocationReason.PASSWORD_CHANGED, key) for key in keys]
    assert await decide(users, RevocationReason.PASSWORD_CHANGED, keys[0]) == first
    await users.finish_revocation(first)
    found = await users.find("shop", "ann")
    assert found is not None
    assert (found.generation, found.sub) == (2, keys[1].value)
    assert await users.unfinished_revocations("shop", LATER, 10) == [second]


@pytest.mark.parametrize("reason", ENDINGS)
async def test_an_ending_outlives_its_user(users: Users, reason: RevocationReason) -> None:
    """It is answered when the user was deleted since, and another user of the login is not touched."""
    await added(users)
    key = a_key()
    ending = await decide(users, reason, key)
    await users.finish_revocation(ending)
    if reason is not RevocationReason.USER_DELETED:
        await delete(users)
    assert await decide(users, reason, key) == ending
    successor = await added(users)
    assert await decide(users, reason, key) == ending
    await users.finish_revocation(ending)
    assert await users.find("shop", "ann") == successor


async def test_a_change_does_not_outlive_its_user(users: Users) -> None:
    """Neither somebody who is being deleted, nor nobody, nor another user of the login is changed or answered."""
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


async def test_a_user_is_added_once(users: Users) -> None:
    """The same request gets the user that it added, as it is now; another one finds the login taken."""
    user = await added(users, idempotency_key="request")
    again = a_user(login="ann", idempotency_key="request", registered_at=NOW + timedelta(minutes=1))
    assert await users.add(again) == user
    changed = await change(users, a_key(), email="new@example.com")
    assert await users.add(again) == changed
    with pytest.raises(LoginTaken):
        await added(users)
    await delete(users)
    with pytest.raises(LoginTaken):
        await users.add(again)
    assert await users.find("shop", "ann") is None


async def test_a_user_added_at_once_is_added_once(users: Users) -> None:
    """Of 20 concurrent deliveries all answer the same user."""
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
async def test_a_mark_is_of_one_user(users: Users, step: Step, other: dict[str, str]) -> None:
    """What is marked with the same name elsewhere is not taken for done here."""
    await added(users)
    theirs = await users.add(a_user(**{"login": "ann", **other}))
    key = a_key()
    await step(users, key)
    assert await users.find(theirs.tenant, theirs.login) == theirs
    ending = await users.decide_revocation(theirs.tenant, theirs.login, RevocationReason.USER_DELETED, key)
    assert ending.user == theirs.id


async def test_a_mark_is_forgotten(users: Users) -> None:
    """From a while after nothing can come back on, the same name means another request."""
    await added(users)
    key = a_key()
    last = replace(key, at=key.at + IDEMPOTENCY_WINDOW - timedelta(milliseconds=1))
    forgotten = replace(key, at=key.at + IDEMPOTENCY_WINDOW)
    await change(users, key, sub="first")
    assert (await change(users, last, sub="second")).sub == "first"
    assert (await change(users, forgotten, sub="second")).sub == "second"
    key = a_key()
    decisions = [
        await decide(users, RevocationReason.ALL_REVOKED, replace(each, value=key.value)) for each in (last, last)
    ]
    assert [decision.generation for decision in decisions] == [1, 1]
    again = replace(key, at=last.at + IDEMPOTENCY_WINDOW)
    assert (await decide(users, RevocationReason.ALL_REVOKED, again)).generation == 2


async def test_a_deletion_is_forgotten(users: Users) -> None:
    """From then on a deletion of nobody is a deletion of nobody."""
    await added(users)
    key = a_key()
    await delete(users, key)
    await delete(users, key)
    with pytest.raises(UserNotFound):
        await delete(users, replace(key, at=key.at + IDEMPOTENCY_WINDOW))


async def test_stored_keys_are_limited(users: Users) -> None:
    """The last ones are kept, and the user does not grow with every change."""
    await added(users)
    keys = [a_key() for _ in range(MAX_IDEMPOTENCY_KEYS + 1)]
    for key in keys:
        await change(users, key, sub=key.value)
    for key in keys[1:]:
        assert (await change(users, key, sub="other")).sub == keys[-1].value
    assert (await change(users, keys[0], sub="other")).sub == "other"


async def test_a_user_of_a_former_version(mongo_database: MongoDatabase) -> None:
    """Stored without keys, it is changed, and deleted, once."""
    users = MongoUsers(mongo_database)
    user = await added(users)
    await mongo_database.collection("users").update_one({"_id": user.id}, {"$unset": {"marks": ""}})
    with pytest.raises(LoginTaken):
        await users.add(replace(user, id="another"))
    key = a_key()
    ending = await decide(users, RevocationReason.ALL_REVOKED, key)
    assert await decide(users, RevocationReason.ALL_REVOKED, key) == ending
    await mongo_database.collection("users").update_one({"_id": user.id}, {"$unset": {"marks": ""}})
    assert (await change(users, key, sub="other")).sub == "other"
    await mongo_database.collection("users").update_one({"_id": user.id}, {"$unset": {"marks": ""}})
    key = a_key()
    for _ in range(2):
        await delete(users, key)
    assert await users.find("shop", "ann") is None


async def test_little_is_remembered_of_who_is_deleted(mongo_database: MongoDatabase) -> None:
    """Its login and the keys of requests, for as long as those may come back; nothing else of the user."""
    users = MongoUsers(mongo_database)
    user = await added(users)
    key = a_key()
    await delete(users, key)
    remembered = await mongo_database.collection("deletions").find({}).to_list(10)
    created = {"by": user.idempotency_key, "at": NOW}
    deleted = {"by": key.value, "at": NOW, "generation": 1}
    assert remembered == [{"_id": user.id, "tenant": "shop", "login": "ann", "marks": [created, deleted], "at": key.at}]
    indexes = await mongo_database.collection("deletions").index_information()
    assert indexes["at_1"]["expireAfterSeconds"] == IDEMPOTENCY_WINDOW.total_seconds()
