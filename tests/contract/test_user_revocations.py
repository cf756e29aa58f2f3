"""The contract of `Users` for decisions to revoke sessions, for the fake and MongoDB."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.contracts.errors import LoginTaken, UserNotFound
from shared.contracts.events import RevocationReason
from tests.fakes import NOW, FakeUsers
from tests.records import a_key, a_user
from worker.adapters.mongo_users import MongoUsers
from worker.domain.ports import Users
from worker.domain.records import IdempotencyKey, StoredUser, UserChanges, UserRevocation

LATER = NOW + timedelta(milliseconds=1)


@pytest.fixture(params=["fake", "mongo"])
def users(request: pytest.FixtureRequest) -> Users:
    if request.param == "fake":
        return FakeUsers()
    return MongoUsers(request.getfixturevalue("mongo_database"))


async def added(users: Users, **changes: Any) -> StoredUser:
    user = a_user(**changes)
    await users.add(user)
    return user


async def decide(
    users: Users,
    user: StoredUser,
    reason: RevocationReason,
    changes: UserChanges | None = None,
    key: IdempotencyKey | None = None,
) -> UserRevocation:
    """Decide a revocation for the user, with a new request unless a key is given."""
    return await users.decide_revocation(user.tenant, user.login, reason, key or a_key(), changes)


async def test_decision_moves_the_user_to_the_next_generation(users: Users) -> None:
    """The decision names the first generation whose sessions survive."""
    user = await added(users)
    assert await users.is_current(user)
    decision = await decide(users, user, RevocationReason.ALL_REVOKED)
    assert decision == UserRevocation(user.tenant, user.login, user.id, 1, RevocationReason.ALL_REVOKED)
    assert not await users.is_current(user)
    found = await users.find(user.tenant, user.login)
    assert found == replace(user, generation=1)
    assert found is not None
    assert await users.is_current(found)


async def test_decision_is_stored_in_one_write_with_its_changes(users: Users) -> None:
    user = await added(users)
    changes = UserChanges({"sub": "other", "scope": {"a.b": None}}, "new hash")
    decision = await decide(users, user, RevocationReason.PASSWORD_CHANGED, changes)
    found = await users.find(user.tenant, user.login)
    assert found == replace(user, sub="other", scope={"a.b": None}, password_hash="new hash", generation=1)
    assert await users.unfinished_revocations("shop", LATER, 10) == [decision]


async def test_second_decision_by_a_stale_reader_gets_the_next_generation(users: Users) -> None:
    user = await added(users)
    first = await decide(users, user, RevocationReason.ALL_REVOKED)
    second = await decide(users, user, RevocationReason.PASSWORD_CHANGED, UserChanges({}, "new"))
    assert (first.generation, second.generation) == (1, 2)
    assert await users.unfinished_revocations("shop", LATER, 10) == [second]


async def test_concurrent_decisions_get_distinct_generations(users: Users) -> None:
    user = await added(users)
    decisions = await asyncio.gather(
        *(decide(users, user, RevocationReason.ALL_REVOKED) for _ in range(10)),
    )
    assert sorted(decision.generation for decision in decisions) == list(range(1, 11))
    found = await users.find(user.tenant, user.login)
    assert found is not None
    assert found.generation == 10


async def test_finished_decision_is_no_longer_unfinished(users: Users) -> None:
    user = await added(users)
    decision = await decide(users, user, RevocationReason.ALL_REVOKED)
    await users.finish_revocation(decision)
    assert await users.unfinished_revocations("shop", LATER, 10) == []
    assert await users.find(user.tenant, user.login) == replace(user, generation=1)
    await users.finish_revocation(decision)


async def test_finishing_an_earlier_decision_keeps_a_later_one(users: Users) -> None:
    user = await added(users)
    first = await decide(users, user, RevocationReason.ALL_REVOKED)
    second = await decide(users, user, RevocationReason.ALL_REVOKED)
    await users.finish_revocation(first)
    assert await users.unfinished_revocations("shop", LATER, 10) == [second]


async def test_unfinished_decisions_are_only_those_older_than_the_given_time(users: Users) -> None:
    """The worker that made a younger decision is still carrying it out."""
    decisions = {
        seconds: await decide(
            users, await added(users), RevocationReason.ALL_REVOKED, key=a_key(at=NOW + timedelta(seconds=seconds))
        )
        for seconds in range(4)
    }
    await added(users)
    other_decision = await decide(users, await added(users, tenant="bank"), RevocationReason.ALL_REVOKED)
    assert sorted(await users.tenants_with_unfinished_revocations(NOW + timedelta(seconds=2))) == ["bank", "shop"]
    assert await users.tenants_with_unfinished_revocations(NOW) == []
    assert await users.unfinished_revocations("bank", LATER, 10) == [other_decision]
    found = await users.unfinished_revocations("shop", NOW + timedelta(seconds=2), 10)
    assert sorted(found, key=lambda decision: decision.user) == sorted(
        (decisions[0], decisions[1]), key=lambda decision: decision.user
    )
    assert len(await users.unfinished_revocations("shop", NOW + timedelta(days=1), 3)) == 3


async def test_user_being_deleted_is_invisible(users: Users) -> None:
    user = await added(users)
    await decide(users, user, RevocationReason.USER_DELETED)
    assert await users.find(user.tenant, user.login) is None
    assert await users.page(user.tenant, "", "", 10) == []
    assert not await users.is_current(user)
    assert not await users.is_current(replace(user, generation=1))
    with pytest.raises(UserNotFound):
        await users.change(user.tenant, user.login, UserChanges({"sub": "other"}), a_key())
    with pytest.raises(UserNotFound):
        await decide(users, user, RevocationReason.ALL_REVOKED)


async def test_concurrent_deletions_are_decided_once(users: Users) -> None:
    user = await added(users)
    outcomes = await asyncio.gather(
        *(decide(users, user, RevocationReason.USER_DELETED) for _ in range(10)), return_exceptions=True
    )
    decisions = [outcome for outcome in outcomes if isinstance(outcome, UserRevocation)]
    assert decisions == [UserRevocation(user.tenant, user.login, user.id, 1, RevocationReason.USER_DELETED)]
    assert [type(outcome) for outcome in outcomes].count(UserNotFound) == 9


async def test_login_is_taken_until_the_deletion_is_finished(users: Users) -> None:
    user = await added(users, login="ann")
    decision = await decide(users, user, RevocationReason.USER_DELETED)
    successor = a_user(login="ann")
    with pytest.raises(LoginTaken):
        await users.add(successor)
    await users.finish_revocation(decision)
    await users.add(successor)
    assert await users.find("shop", "ann") == successor
    assert await users.unfinished_revocations("shop", LATER, 10) == []


async def test_finishing_a_deletion_twice_keeps_the_successor(users: Users) -> None:
    user = await added(users, login="ann")
    decision = await decide(users, user, RevocationReason.USER_DELETED)
    await users.finish_revocation(decision)
    successor = await added(users, login="ann")
    await users.finish_revocation(decision)
    assert await users.find("shop", "ann") == successor


async def test_decision_for_an_unknown_user_is_refused(users: Users) -> None:
    with pytest.raises(UserNotFound):
        await decide(users, a_user(), RevocationReason.ALL_REVOKED)
    assert await users.unfinished_revocations("shop", LATER, 10) == []
