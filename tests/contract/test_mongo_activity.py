"""`MongoActivity`: the batched writes of the users' last activity."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from shared.contracts.events import RevocationReason
from tests.fakes import NOW
from tests.mongo_driver import connect
from tests.records import a_key, a_session, a_user
from worker.adapters.mongo_activity import CHUNK, MongoActivity
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_users import MongoUsers
from worker.domain.ports import Activity
from worker.domain.records import StoredUser

LATER = NOW + timedelta(minutes=5)


@pytest.fixture
def users(mongo_database: MongoDatabase) -> MongoUsers:
    return MongoUsers(mongo_database)


@pytest.fixture
def activity(mongo_database: MongoDatabase) -> MongoActivity:
    return MongoActivity(mongo_database)


async def added(users: MongoUsers) -> StoredUser:
    user = a_user()
    await users.add(user)
    return user


async def delete(users: MongoUsers, user: StoredUser) -> None:
    key = a_key()
    await users.finish_revocation(
        await users.decide_revocation(user.tenant, user.login, RevocationReason.USER_DELETED, key)
    )


async def last_active_at(users: MongoUsers, user: StoredUser) -> object:
    found = await users.find(user.tenant, user.login)
    return found.last_active_at if found else None


def record(activity: Activity, user: StoredUser, at: datetime = LATER) -> None:
    activity.seen(a_session(tenant=user.tenant, user=user.id, login=user.login), at)


async def test_activity_is_written_only_in_batches(users: MongoUsers, activity: MongoActivity) -> None:
    seen, other, unseen = await added(users), await added(users), await added(users)
    record(activity, seen)
    record(activity, other)
    assert await last_active_at(users, seen) == NOW
    await activity.write()
    assert [await last_active_at(users, user) for user in (seen, other, unseen)] == [LATER, LATER, NOW]


async def test_earlier_activity_does_not_replace_a_later_one(users: MongoUsers, activity: MongoActivity) -> None:
    user = await added(users)
    record(activity, user)
    await activity.write()
    record(activity, user, NOW)
    await activity.write()
    assert await last_active_at(users, user) == LATER


async def test_written_activity_is_not_written_again(users: MongoUsers, activity: MongoActivity) -> None:
    user, other = await added(users), await added(users)
    record(activity, user)
    await activity.write()
    await delete(users, user)
    await users.add(replace(user, idempotency_key="another request"))
    record(activity, other)
    await activity.write()
    assert [await last_active_at(users, each) for each in (user, other)] == [NOW, LATER]


async def test_activity_of_a_deleted_user_is_dropped_and_others_are_written(
    users: MongoUsers, activity: MongoActivity
) -> None:
    gone, other = await added(users), await added(users)
    record(activity, gone)
    record(activity, other)
    await delete(users, gone)
    await activity.write()
    assert await users.page(gone.tenant, gone.login, "", 10) == []
    assert await last_active_at(users, other) == LATER


async def test_write_without_activity_changes_nothing(users: MongoUsers, activity: MongoActivity) -> None:
    user = await added(users)
    await activity.write()
    assert await last_active_at(users, user) == NOW


class Writes(CommandListener):
    """Notes the number of updates and the write concern of each write to `users`."""

    def __init__(self) -> None:
        self.writes: list[tuple[int, object]] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name == "update":
            self.writes.append((len(event.command["updates"]), event.command["writeConcern"]["w"]))

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


async def test_activity_of_many_users_is_written_in_chunks_without_waiting_for_a_majority(mongo_url: str) -> None:
    """It changes with each request, and a lost minute of it harms nobody."""
    writes = Writes()
    async with connect(mongo_url, [writes]) as database:
        activity = MongoActivity(database)
        for number in range(CHUNK + 1):
            record(activity, a_user(id=f"user {number}"))
        await activity.write()
    assert writes.writes == [(CHUNK, 1), (1, 1)]
