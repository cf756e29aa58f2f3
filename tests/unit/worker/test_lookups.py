"""Lookups that meet become one query, and each gets its own answer."""

import asyncio
import contextlib
import gc
from collections.abc import Sequence

import pytest

from shared.contracts.errors import Unavailable
from worker.adapters.lookups import MAX_IDS, Lookups

#: Longer than a busy machine stands still.
WAITING_SECONDS = 30


class Table:
    """A database whose answers are let through one by one; `asked` holds the ids of each query."""

    def __init__(self) -> None:
        self.rows = {"a": "A", "b": "B", "c": "C"}
        self.asked: list[set[str]] = []
        self._open = asyncio.Semaphore(0)
        self.error: Exception | None = None

    async def look(self, ids: Sequence[str]) -> dict[str, str]:
        self.asked.append(set(ids))
        await self._open.acquire()
        if self.error:
            raise self.error
        return {each: self.rows[each] for each in ids if each in self.rows}

    def answer(self, queries: int = 1) -> None:
        for _ in range(queries):
            self._open.release()


async def _begun(*tasks: "asyncio.Task[dict[str, str]]") -> None:
    """They have come as far as they can."""
    for _ in range(10 * len(tasks)):
        await asyncio.sleep(0)


async def test_a_lone_lookup_is_asked_at_once() -> None:
    """Before anybody else gets a turn, and for what it wants."""
    table = Table()
    table.answer()
    assert await Lookups(table.look).find(["a", "unknown"]) == {"a": "A"}
    assert table.asked == [{"a", "unknown"}]


async def test_those_that_come_meanwhile_travel_together() -> None:
    """In one query, from which each gets what it has asked for."""
    table = Table()
    lookups = Lookups(table.look, WAITING_SECONDS)
    tasks = [asyncio.create_task(lookups.find(ids)) for ids in (["a"], ["b", "c"], ["c", "unknown"], ["a"])]
    await _begun(*tasks)
    assert table.asked == [{"a"}]
    table.answer(2)
    assert await asyncio.gather(*tasks) == [{"a": "A"}, {"b": "B", "c": "C"}, {"c": "C"}, {"a": "A"}]
    assert table.asked == [{"a"}, {"a", "b", "c", "unknown"}]


async def test_what_was_written_before_a_lookup_is_seen_by_it() -> None:
    """However late it joins: no query that has begun is joined."""
    table = Table()
    lookups = Lookups(table.look, WAITING_SECONDS)
    first = asyncio.create_task(lookups.find(["a"]))
    second = asyncio.create_task(lookups.find(["b"]))
    await _begun(first, second)
    table.answer()
    await first
    await _begun(second)
    assert len(table.asked) == 2  # the second is under way
    third = asyncio.create_task(lookups.find(["b"]))
    await _begun(third)
    table.answer()
    assert await second == {"b": "B"}
    table.rows["b"] = "revoked"
    table.answer()
    assert await third == {"b": "revoked"}
    assert len(table.asked) == 3


async def test_an_error_reaches_all_who_travel_in_the_query() -> None:
    """And nobody else; the next query is asked as ever."""
    table = Table()
    lookups = Lookups(table.look, WAITING_SECONDS)
    tasks = [asyncio.create_task(lookups.find([each])) for each in "abc"]
    await _begun(*tasks)
    table.answer()
    assert await tasks[0] == {"a": "A"}
    table.error = Unavailable()
    table.answer()
    assert [type(each) for each in await asyncio.gather(*tasks[1:], return_exceptions=True)] == [Unavailable] * 2
    table.error = None
    table.answer()
    assert await lookups.find(["a"]) == {"a": "A"}


async def test_an_error_that_only_one_hears_is_no_complaint_of_asyncio() -> None:
    """Whoever asked has heard it; nobody was there to hear it again."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    table = Table()
    table.error = Unavailable()
    table.answer()
    with pytest.raises(Unavailable):
        await Lookups(table.look).find(["a"])
    gc.collect()
    await asyncio.sleep(0)
    assert not complaints


async def test_nobody_waits_long_behind_a_query_that_is_not_answered() -> None:
    """Such as that to a database which is away."""
    table = Table()
    lookups = Lookups(table.look, 0.01)
    stuck = asyncio.create_task(lookups.find(["a"]))
    behind = asyncio.create_task(lookups.find(["b"]))
    async with asyncio.timeout(WAITING_SECONDS):
        while len(table.asked) < 2:  # noqa: ASYNC110 - time brings it about
            await asyncio.sleep(0.01)
    assert not stuck.done()
    table.answer(2)
    assert [await stuck, await behind] == [{"a": "A"}, {"b": "B"}]


async def test_no_query_grows_beyond_what_an_index_likes() -> None:
    """What would be too much for one goes in another."""
    table = Table()
    lookups = Lookups(table.look, WAITING_SECONDS)
    many = [f"{number}" for number in range(MAX_IDS)]
    tasks = [asyncio.create_task(lookups.find(ids)) for ids in (["a"], many, ["b"], ["c"])]
    await _begun(*tasks)
    table.answer(3)
    await asyncio.gather(*tasks)
    assert table.asked == [{"a"}, set(many), {"b", "c"}]


async def test_who_gives_up_takes_nobody_along() -> None:
    """Neither one who joined nor, but for an honest error, the one who asks."""
    table = Table()
    lookups = Lookups(table.look, WAITING_SECONDS)
    first, asks, joined, stays = (asyncio.create_task(lookups.find([each])) for each in "abca")
    await _begun(first, asks, joined, stays)
    joined.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await joined
    table.answer()
    await first
    await _begun(asks)
    asks.cancel()
    with pytest.raises(Unavailable):
        await stays
    table.answer()
    assert await lookups.find(["a"]) == {"a": "A"}
