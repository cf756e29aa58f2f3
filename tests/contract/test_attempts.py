"""What every `Attempts` must do."""

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
    """The count after so many free attempts at the same time, all of them under way."""
    assert all(await asyncio.gather(*(attempts.count(key, None, limit, NOW) for _ in range(times))))
    return (await attempts.find([key]))[key]


async def test_what_was_never_counted_is_not_found(attempts: Attempts) -> None:
    """Only keys that were counted have a count, each its own."""
    await counted(attempts, 2, "ann")
    await counted(attempts, 1, "bob")
    found = await attempts.find(["ann", "bob", "eve"])
    assert {key: count.tried for key, count in found.items()} == {"ann": 2, "bob": 1}


async def test_an_attempt_is_counted_and_under_way(attempts: Attempts) -> None:
    """From the first on, with the times of the first and the last; kept for a window."""
    await attempts.count("ann", None, LIMIT, NOW)
    seen = (await attempts.find(["ann"]))["ann"]
    assert seen == AttemptCount(1, 1, NOW, NOW, NOW + LIMIT.window, 1)
    assert await attempts.count("ann", seen, LIMIT, NOW + SECOND)
    assert (await attempts.find(["ann"]))["ann"] == AttemptCount(2, 2, NOW, NOW + SECOND, NOW + LIMIT.window, 2)


async def test_no_more_than_are_free_at_once(attempts: Attempts) -> None:
    """Of 50 attempts at the same moment exactly the free ones are counted, whatever each of them has seen."""
    outcomes = await asyncio.gather(*(attempts.count("ann", None, LIMIT, NOW) for _ in range(50)))
    assert outcomes.count(True) == LIMIT.undelayed
    assert (await attempts.find(["ann"]))["ann"].tried == LIMIT.undelayed


async def test_one_of_many_that_have_waited_is_counted(attempts: Attempts) -> None:
    """Beyond the free ones, of 50 who saw the same count one goes on, and the others have to look again."""
    seen = await counted(attempts, LIMIT.undelayed)
    now = NOW + SECOND
    outcomes = await asyncio.gather(*(attempts.count("ann", seen, LIMIT, now) for _ in range(50)))
    assert outcomes.count(True) == 1
    found = (await attempts.find(["ann"]))["ann"]
    assert (found.tried, found.last_at) == (LIMIT.undelayed + 1, now)
    assert not await attempts.count("ann", seen, LIMIT, now)


async def test_a_window_begins_anew(attempts: Attempts) -> None:
    """When all attempts are too long ago the next one is the first, and only one of many makes it so."""
    seen = await counted(attempts, LIMIT.undelayed)
    now = NOW + LIMIT.window
    assert not await attempts.count("ann", None, LIMIT, now)
    outcomes = await asyncio.gather(*(attempts.count("ann", seen, LIMIT, now) for _ in range(50)))
    assert outcomes.count(True) == 1
    assert (await attempts.find(["ann"]))["ann"] == AttemptCount(1, 1, now, now, now + LIMIT.window, 1)


async def test_a_wrong_one_stays_counted(attempts: Attempts) -> None:
    """Its outcome is known from then on."""
    seen = await counted(attempts, 2)
    await attempts.failed("ann")
    assert (await attempts.find(["ann"]))["ann"] == replace(seen, in_flight=1)


async def test_one_that_is_taken_back_is_not_counted(attempts: Attempts) -> None:
    """The others stay."""
    seen = await counted(attempts, 2)
    await attempts.take_back("ann")
    assert (await attempts.find(["ann"]))["ann"] == replace(seen, tried=1, in_flight=1, consecutive=1)


async def test_a_key_is_kept_with_nothing_counted(attempts: Attempts) -> None:
    """For as long as was said, also through a window that begins anew; it may be said before anything was counted."""
    await counted(attempts, 2)
    for key in ("ann", "bob"):
        await asyncio.gather(*(attempts.keep(key, NOW, KEPT) for _ in range(10)))
        seen = (await attempts.find([key]))[key]
        assert seen == AttemptCount(0, 0, NOW, NOW, KEPT)
        now = NOW + LIMIT.window
        assert await attempts.count(key, seen, LIMIT, now)
        assert (await attempts.find([key]))[key] == AttemptCount(1, 1, now, now, KEPT, 1)


async def test_a_key_is_forgotten(attempts: Attempts) -> None:
    """Its next attempt is the first."""
    await counted(attempts, LIMIT.undelayed)
    await attempts.forget("ann")
    assert await attempts.find(["ann"]) == {}
    assert (await counted(attempts, 1)).tried == 1


async def test_many_keys_are_forgotten_at_once(attempts: Attempts) -> None:
    """`forget` removes the named counts and no others, also names that were never counted."""
    for key in ("ann", "bob", "eve"):
        await counted(attempts, 2, key)
    await attempts.forget("ann", "bob", "nobody")
    await attempts.forget()
    assert set(await attempts.find(["ann", "bob", "eve", "nobody"])) == {"eve"}


async def test_an_outcome_that_comes_late_does_no_harm(attempts: Attempts) -> None:
    """When all was forgotten meanwhile, nothing is left to change, and nothing falls below zero."""
    await counted(attempts, 2)
    await attempts.forget("ann")
    for outcome in (attempts.failed, attempts.take_back):
        await outcome("ann")
    assert await attempts.find(["ann"]) == {}
    await attempts.keep("ann", NOW, KEPT)
    for outcome in (attempts.failed, attempts.take_back):
        await outcome("ann")
    assert (await attempts.find(["ann"]))["ann"] == AttemptCount(0, 0, NOW, NOW, KEPT)


async def test_a_row_goes_on_through_windows(attempts: Attempts) -> None:
    """A new window resets its own count only. The consecutive count is kept for longer, the higher it is."""
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


async def test_no_more_in_a_row_than_may_be(attempts: Attempts) -> None:
    """Of 50 at the same moment, who all see that two are left, two are counted; in whatever window."""
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


async def test_a_limit_without_an_end_counts_on_and_unlocks_nothing(attempts: Attempts) -> None:
    """A proven tenant's attempts go on where strangers' are at an end; the row stays for as long as it was kept."""
    limit = replace(STRANGERS, max_consecutive=STRANGERS.undelayed)
    locked, now = await counted(attempts, STRANGERS.undelayed, limit=limit), NOW + limit.window
    for number in range(1, 3):
        seen = (await attempts.find(["ann"]))["ann"]
        assert not LIMIT.wait(seen, now)
        assert await attempts.count("ann", seen, LIMIT, now)
        seen = (await attempts.find(["ann"]))["ann"]
        assert (seen.tried, seen.consecutive, seen.kept_until) == (number, limit.undelayed + number, locked.kept_until)
        assert limit.is_locked(seen, now)


async def test_a_count_of_an_older_worker_goes_on(mongo_database: MongoDatabase) -> None:
    """It has no row in it: what it has counted is the row, and the next attempts are counted."""
    attempts = MongoAttempts(mongo_database)
    await counted(attempts, 3, limit=STRANGERS)
    await mongo_database.collection("attempts").update_one({}, {"$unset": {"in_a_row": ""}})
    seen = (await attempts.find(["ann"]))["ann"]
    assert seen.consecutive == 3
    assert await attempts.count("ann", seen, STRANGERS, NOW)
    assert (await attempts.find(["ann"]))["ann"].tried == 4


async def test_the_database_removes_what_is_old(mongo_database: MongoDatabase) -> None:
    """By an index on the time that each count is kept until."""
    indexes = await mongo_database.collection("attempts").index_information()
    assert indexes["kept_until_1"]["expireAfterSeconds"] == 0
