"""What every `Users` must do with decisions to end sessions: they are durable, ordered, and never lost."""

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
    """Decide about the user, with a new request unless a key is given."""
    return await users.decide_revocation(user.tenant, user.login, reason, key or a_key(), changes)


async def test_a_decision_ends_the_generation(users: Users) -> None:
    """A decision names the generation after the one it ends, and the user is of that one from then on."""
    user = await added(users)
    assert await users.is_current(user)
    ending = await decide(users, user, RevocationReason.ALL_REVOKED)
    assert ending == UserRevocation(user.tenant, user.id, 1, RevocationReason.ALL_REVOKED)
    assert not await users.is_current(user)
    found = await users.find(user.tenant, user.login)
    assert found == replace(user, generation=1)
    assert found is not None
    assert await users.is_current(found)


async def test_a_decision_is_written_with_its_cause(users: Users) -> None:
    """The new password and the end of the sessions are one: who sees the one sees the other."""
    user = await added(users)
    changes = UserChanges({"sub": "other", "scope": {"a.b": None}}, "new hash")
    ending = await decide(users, user, RevocationReason.PASSWORD_CHANGED, changes)
    found = await users.find(user.tenant, user.login)
    assert found == replace(user, sub="other", scope={"a.b": None}, password_hash="new hash", generation=1)
    assert await users.unfinished_revocations("shop", LATER, 10) == [ending]


async def test_a_later_decision_of_who_read_before(users: Users) -> None:
    """Two decisions by callers who read the same user get two generations, in their order."""
    user = await added(users)
    first = await decide(users, user, RevocationReason.ALL_REVOKED)
    second = await decide(users, user, RevocationReason.PASSWORD_CHANGED, UserChanges({}, "new"))
    assert (first.generation, second.generation) == (1, 2)
    assert await users.unfinished_revocations("shop", LATER, 10) == [second]


async def test_decisions_at_once_never_share_a_generation(users: Users) -> None:
    """Of ten concurrent decisions each has a generation of its own, and the user is of the last."""
    user = await added(users)
    endings = await asyncio.gather(
        *(decide(users, user, RevocationReason.ALL_REVOKED) for _ in range(10)),
    )
    assert sorted(ending.generation for ending in endings) == list(range(1, 11))
    found = await users.find(user.tenant, user.login)
    assert found is not None
    assert found.generation == 10


async def test_a_finished_decision_is_forgotten(users: Users) -> None:
    """What was carried out is not found again, and the user stays."""
    user = await added(users)
    ending = await decide(users, user, RevocationReason.ALL_REVOKED)
    await users.finish_revocation(ending)
    assert await users.unfinished_revocations("shop", LATER, 10) == []
    assert await users.find(user.tenant, user.login) == replace(user, generation=1)
    await users.finish_revocation(ending)


async def test_finishing_leaves_a_later_decision_alone(users: Users) -> None:
    """Who carried out an earlier decision does not finish the later one."""
    user = await added(users)
    first = await decide(users, user, RevocationReason.ALL_REVOKED)
    second = await decide(users, user, RevocationReason.ALL_REVOKED)
    await users.finish_revocation(first)
    assert await users.unfinished_revocations("shop", LATER, 10) == [second]


async def test_only_decisions_left_behind_are_unfinished(users: Users) -> None:
    """A decision younger than asked for is in somebody's hands; no more than the limit are taken."""
    endings = {
        seconds: await decide(
            users, await added(users), RevocationReason.ALL_REVOKED, key=a_key(at=NOW + timedelta(seconds=seconds))
        )
        for seconds in range(4)
    }
    await added(users)
    of_another = await decide(users, await added(users, tenant="bank"), RevocationReason.ALL_REVOKED)
    assert sorted(await users.tenants_with_unfinished_revocations(NOW + timedelta(seconds=2))) == ["bank", "shop"]
    assert await users.tenants_with_unfinished_revocations(NOW) == []
    assert await users.unfinished_revocations("bank", LATER, 10) == [of_another]
    found = await users.unfinished_revocations("shop", NOW + timedelta(seconds=2), 10)
    assert sorted(found, key=lambda ending: ending.user) == sorted(
        (endings[0], endings[1]), key=lambda ending: ending.user
    )
    assert len(await users.unfinished_revocations("shop", NOW + timedelta(days=1), 3)) == 3


async def test_a_user_decided_to_be_deleted_is_invisible(users: Users) -> None:
    """From the decision on nobody finds, lists or changes a deleted user, and no decision follows it."""
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


async def test_deletion_is_decided_once(users: Users) -> None:
    """Of ten concurrent deletions one decides, and the others learn that the user is gone."""
    user = await added(users)
    outcomes = await asyncio.gather(
        *(decide(users, user, RevocationReason.USER_DELETED) for _ in range(10)), return_exceptions=True
    )
    endings = [outcome for outcome in outcomes if isinstance(outcome, UserRevocation)]
    assert endings == [UserRevocation(user.tenant, user.id, 1, RevocationReason.USER_DELETED)]
    assert [type(outcome) for outcome in outcomes].count(UserNotFound) == 9


async def test_a_login_is_free_once_its_deletion_is_finished(users: Users) -> None:
    """Until its sessions have ended a deleted user keeps its login; then another may have it."""
    user = await added(users, login="ann")
    ending = await decide(users, user, RevocationReason.USER_DELETED)
    successor = a_user(login="ann")
    with pytest.raises(LoginTaken):
        await users.add(successor)
    await users.finish_revocation(ending)
    await users.add(successor)
    assert await users.find("shop", "ann") == successor
    assert await users.unfinished_revocations("shop", LATER, 10) == []


async def test_finishing_a_deletion_twice_spares_the_successor(users: Users) -> None:
    """A sweep that is late deletes nobody but the user that was to be deleted."""
    user = await added(users, login="ann")
    ending = await decide(users, user, RevocationReason.USER_DELETED)
    await users.finish_revocation(ending)
    successor = await added(users, login="ann")
    await users.finish_revocation(ending)
    assert await users.find("shop", "ann") == successor


async def test_a_decision_about_nobody(users: Users) -> None:
    """A user that does not exist has no sessions to end."""
    with pytest.raises(UserNotFound):
        await decide(users, a_user(), RevocationReason.ALL_REVOKED)
    assert await users.unfinished_revocations("shop", LATER, 10) == []
