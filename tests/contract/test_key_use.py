"""`MongoActivity`: the batched writes of the last use of API keys."""

from dataclasses import replace
from datetime import timedelta

from tests.fakes import NOW
from tests.records import a_session, an_api_key
from worker.adapters.mongo_activity import MongoActivity
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_sessions import MongoSessions
from worker.domain.records import StoredSession

LATER = NOW + timedelta(minutes=5, seconds=17, microseconds=123)


async def stored(sessions: MongoSessions, session: StoredSession) -> StoredSession:
    return (await sessions.find([session.id]))[session.id]


def used(session: StoredSession, minutes: int) -> StoredSession:
    assert session.key is not None
    return replace(session, key=replace(session.key, used_at=NOW + timedelta(minutes=minutes)))


async def test_use_is_written_in_a_batch_and_to_the_minute(mongo_database: MongoDatabase) -> None:
    """An earlier use does not replace a later one."""
    sessions, activity = MongoSessions(mongo_database), MongoActivity(mongo_database)
    session = await sessions.add(an_api_key()[0])
    unused = await sessions.add(an_api_key()[0])
    activity.used(session.id, NOW)
    activity.used(session.id, LATER)
    assert await stored(sessions, session) == session
    await activity.write()
    assert await stored(sessions, session) == used(session, 5)
    assert await stored(sessions, unused) == unused
    activity.used(session.id, NOW)
    await activity.write()
    assert await stored(sessions, session) == used(session, 5)


async def test_use_of_a_removed_key_stores_nothing_and_makes_no_key_of_a_session(mongo_database: MongoDatabase) -> None:
    """The others are written."""
    sessions, activity = MongoSessions(mongo_database), MongoActivity(mongo_database)
    session, tenant = await sessions.add(an_api_key()[0]), await sessions.add(a_session(user=None))
    for each in ("removed", tenant.id, session.id):
        activity.used(each, LATER)
    await activity.write()
    assert await sessions.find(["removed"]) == {}
    assert await stored(sessions, tenant) == tenant
    assert await stored(sessions, session) == used(session, 5)


async def test_use_during_a_rotation_keeps_the_new_secrets(mongo_database: MongoDatabase) -> None:
    sessions, activity = MongoSessions(mongo_database), MongoActivity(mongo_database)
    session = await sessions.add(an_api_key()[0])
    other, _ = an_api_key()
    assert session.key is not None
    assert other.key is not None
    changed = replace(session, key=replace(session.key, secrets=(*other.key.secrets, *session.key.secrets)))
    activity.used(session.id, LATER)
    assert await sessions.replace_secrets(session, changed)
    await activity.write()
    assert await stored(sessions, session) == used(changed, 5)
