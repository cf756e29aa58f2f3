"""The contract of `Attempts`, for the fake and MongoDB."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.fakes import LIMIT, NOW, STRANGERS, FakeAttempts
from worker.adapters.mongo_attempts import MongoAttempts
from worker.adapters.mongo_database import MongoDatabase
from worker.domain.attempts import CONSECUTIVE_KEPT_EACH, AttemptCount, Limit
from worker.domain.ports import Attempts

SECOND = timedelta(seconds=1)
KEPT = NOW + timedelta(days=30)


@pytest.fixture(params=["fake", "mongo"])
def attempts(request: pytest.FixtureRequest) -> Attempts:
    if request.param == "fake":
        return FakeAttempts()
    return MongoAttempts(request.getfixturevalue("mongo_database"))


async def counted(attempts: Attempts, times: int, key: str = "ann", limit: Limit = LIMIT) -> AttemptCount:
    """Count this many undelayed attempts at the same time and return the count, with all of them in flight."""
    assert all(await asyncio.gather(*(attempts.count(key, None, limit, NOW) for _ in range(times))))
    return (await attempts.find([key]))[key]


async def test_find_returns_only_counted_keys(attempts: Attempts) -> None:
    await counted(attempts, 2, "ann")
    await counted(attempts, 1, "bob")
    found = await attempts.find(["ann", "bob", "eve"])
    assert {key: count.tried for key, count in found.items()} == {"ann": 2, "bob": 1}


async def test_counted_attempt_is_in_flight_and_kept_for_a_window(attempts: Attempts) -> None:
    await attempts.count("ann", None, LIMIT, NOW)
    seen = (await attempts.find(["ann"]))["ann"]
    assert seen == AttemptCount(1, 1, NOW, NOW, NOW + LIMIT.window, 1)
    assert await attempts.count("ann", seen, LIMIT, NOW + SECOND)
    assert (await attempts.find(["ann"]))["ann"] == AttemptCount(2, 2, NOW, NOW + SECOND, NOW + LIMIT.window, 2)


async def test_concurrent_first_attempts_are_counted_up_to_the_undelayed_limit(attempts: Attempts) -> None:
    outcomes = await asyncio.gather(*(attempts.count("ann", None, LIMIT, NOW) for _ in range(50)))
    assert outcomes.count(True) == LIMIT.undelayed
    assert (await attempts.find(["ann"]))["ann"].tried == LIMIT.undelayed


async def test_one_of_concurrent_delayed_attempts_is_counted(attempts: Attempts) -> None:
    """Of 50 callers that read the same count, one succeeds; the others must read the count again."""
    seen = await counted(attempts, LIMIT.undelayed)
    now = NOW + SECOND
    outcomes = await asyncio.gather(*(attempts.count("ann", seen, LIMIT, now) for _ in range(50)))
    assert outcomes.count(True) == 1
    found = (await attempts.find(["ann"]))["ann"]
    assert (found.tried, found.last_at) == (LIMIT.undelayed + 1, now)
    assert not await attempts.count("ann", seen, LIMIT, now)


async def test_first_attempt_after_the_window_starts_a_new_one(attempts: Attempts) -> None:
    seen = await counted(attempts, LIMIT.undelayed)
    now = NOW + LIMIT.window
    assert not await attempts.count("ann", None, LIMIT, now)
    outcomes = await asyncio.gather(*(attempts.count("ann", seen, LIMIT, now) for _ in range(50)))
    assert outcomes.count(True) == 1
    assert (await attempts.find(["ann"]))["ann"] == AttemptCount(1, 1, now, now, now + LIMIT.window, 1)


async def test_failed_attempt_stays_counted_and_leaves_in_flight(attempts: Attempts) -> None:
    seen = await counted(attempts, 2)
    await attempts.failed("ann")
    assert (await attempts.find(["ann"]))["ann"] == replace(seen, in_flight=1)


async def test_attempt_that_is_taken_back_is_not_counted(attempts: Attempts) -> None:
    seen = await counted(attempts, 2)
    await attempts.take_back("ann")
    assert (await attempts.find(["ann"]))["ann"] == replace(seen, tried=1, in_flight=1, consecutive=1)


async def test_kept_key_without_attempts_outlives_a_window(attempts: Attempts) -> None:
    """A key may be kept before anything is counted under it."""
    await counted(attempts, 2)
    for key in ("ann", "bob"):
        await asyncio.gather(*(attempts.keep(key, NOW, KEPT) for _ in range(10)))
        seen = (await attempts.find([key]))[key]
        assert seen == AttemptCount(0, 0, NOW, NOW, KEPT)
        now = NOW + LIMIT.window
        assert await attempts.count(key, seen, LIMIT, now)
        assert (await attempts.find([key]))[key] == AttemptCount(1, 1, now, now, KEPT, 1)


async def test_next_attempt_of_a_forgotten_key_is_its_first(attempts: Attempts) -> None:
    await counted(attempts, LIMIT.undelayed)
    await attempts.forget("ann")
    assert await attempts.find(["ann"]) == {}
    assert (await counted(attempts, 1)).tried == 1


async def test_forget_removes_only_the_given_keys(attempts: Attempts) -> None:
    for key in ("ann", "bob", "eve"):
        await counted(attempts, 2, key)
    await attempts.forget("ann", "bob", "nobody")
    await attempts.forget()
    assert set(await attempts.find(["ann", "bob", "eve", "nobody"])) == {"eve"}


async def test_late_outcome_after_forget_changes_nothing(attempts: Attempts) -> None:
    """No count falls below zero."""
    await counted(attempts, 2)
    await attempts.forget("ann")
    for outcome in (attempts.failed, attempts.take_back):
        await outcome("ann")
    assert await attempts.find(["ann"]) == {}
    await attempts.keep("ann", NOW, KEPT)
    for outcome in (attempts.failed, attempts.take_back):
        await outcome("ann")
    assert (await attempts.find(["ann"]))["ann"] == AttemptCount(0, 0, NOW, NOW, KEPT)


async def test_consecutive_count_survives_windows_until_it_expires(attempts: Attempts) -> None:
    """The higher the count, the longer it is kept."""
    seen = await counted(attempts, STRANGERS.undelayed, limit=STRANGERS)
    assert seen.consecutive == STRANGERS.undelayed
    now = NOW
    for number in range(1, 4):
        now += STRANGERS.window
        assert await attempts.count("ann", seen, STRANGERS, now)
        seen = (await attempts.find(["ann"]))["ann"]
        assert (seen.tried, seen.consecutive) == (1, STRANGERS.undelayed + number)
        assert seen.kept_until == now + (STRANGERS.undelayed + number) * CONSECUTIVE_KEPT_EACH
    for _ in range(2):
        assert await attempts.count("ann", seen, STRANGERS, now)
    await attempts.take_back("ann")
    seen = (await attempts.find(["ann"]))["ann"]
    assert (seen.tried, seen.consecutive) == (2, STRANGERS.undelayed + 4)
    now = seen.kept_until
    assert await attempts.count("ann", seen, STRANGERS, now)
    assert (await attempts.find(["ann"]))["ann"].consecutive == 1


async def test_concurrent_attempts_are_counted_up_to_the_consecutive_limit(attempts: Attempts) -> None:
    limit = replace(STRANGERS, undelayed=10, max_consecutive=12)
    seen, now = await counted(attempts, limit.undelayed - 1, limit=limit), NOW + limit.window
    assert await attempts.count("ann", seen, limit, now)
    seen = (await attempts.find(["ann"]))["ann"]
    assert (seen.tried, seen.consecutive) == (1, 10)
    outcomes = await asyncio.gather(*(attempts.count("ann", seen, limit, now) for _ in range(50)))
    assert outcomes.count(True) == 2
    seen = (await attempts.find(["ann"]))["ann"]
    assert seen.consecutive == limit.max_consecutive
    assert limit.is_locked(seen, now)
    assert limit.wait(seen, now) == limit.longest_wait
    assert not limit.is_locked(seen, seen.kept_until)


async def test_limit_without_a_lock_counts_a_locked_key_and_keeps_its_lock(attempts: Attempts) -> None:
    """Attempts from a known origin continue where attempts from other origins are locked."""
    limit = replace(STRANGERS, max_consecutive=STRANGERS.undelayed)
    locked, now = await counted(attempts, STRANGERS.undelayed, limit=limit), NOW + limit.window
    for number in range(1, 3):
        seen = (await attempts.find(["ann"]))["ann"]
        assert not LIMIT.wait(seen, now)
        assert await attempts.count("ann", seen, LIMIT, now)
        seen = (await attempts.find(["ann"]))["ann"]
        assert (seen.tried, seen.consecutive, seen.kept_until) == (number, limit.undelayed + number, locked.kept_until)
        assert limit.is_locked(seen, now)


async def test_count_stored_by_an_older_worker_continues(mongo_database: MongoDatabase) -> None:
    """Such a count stores no consecutive attempts: the attempts of its window count as consecutive."""
    attempts = MongoAttempts(mongo_database)
    await counted(attempts, 3, limit=STRANGERS)
    await mongo_database.collection("attempts").update_one({}, {"$unset": {"in_a_row": ""}})
    seen = (await attempts.find(["ann"]))["ann"]
    assert seen.consecutive == 3
    assert await attempts.count("ann", seen, STRANGERS, NOW)
    assert (await attempts.find(["ann"]))["ann"].tried == 4


async def test_stored_count_expires_by_an_index_on_kept_until(mongo_database: MongoDatabase) -> None:
    indexes = await mongo_database.collection("attempts").index_information()
    assert indexes["kept_until_1"]["expireAfterSeconds"] == 0
