"""Coalesced lookups: concurrent ones share a query, and each gets its own rows."""

import asyncio
import contextlib
import gc
from collections.abc import Sequence

import pytest

from shared.contracts.errors import Unavailable
from worker.adapters.lookups import MAX_IDS, Lookups
from worker.domain.deadline import Deadline, request_deadline

#: Bounds how long a broken test waits.
WAITING_SECONDS = 30


class Table:
    """A database that answers its queries one by one; `asked` holds the ids of each query."""

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
    """Let the tasks run until they wait."""
    for _ in range(10 * len(tasks)):
        await asyncio.sleep(0)


async def test_single_lookup_is_queried_at_once() -> None:
    table = Table()
    table.answer()
    assert await Lookups(table.look).find(["a", "unknown"]) == {"a": "A"}
    assert table.asked == [{"a", "unknown"}]


async def test_lookups_during_a_query_share_the_next_one() -> None:
    """Each lookup gets only its own rows."""
    table = Table()
    lookups = Lookups(table.look, WAITING_SECONDS)
    tasks = [asyncio.create_task(lookups.find(ids)) for ids in (["a"], ["b", "c"], ["c", "unknown"], ["a"])]
    await _begun(*tasks)
    assert table.asked == [{"a"}]
    table.answer(2)
    assert await asyncio.gather(*tasks) == [{"a": "A"}, {"b": "B", "c": "C"}, {"c": "C"}, {"a": "A"}]
    assert table.asked == [{"a"}, {"a", "b", "c", "unknown"}]


async def test_lookup_sees_rows_written_before_it() -> None:
    """It never joins a query that has started."""
    table = Table()
    lookups = Lookups(table.look, WAITING_SECONDS)
    first = asyncio.create_task(lookups.find(["a"]))
    second = asyncio.create_task(lookups.find(["b"]))
    await _begun(first, second)
    table.answer()
    await first
    await _begun(second)
    assert len(table.asked) == 2  # the second is in flight
    third = asyncio.create_task(lookups.find(["b"]))
    await _begun(third)
    table.answer()
    assert await second == {"b": "B"}
    table.rows["b"] = "revoked"
    table.answer()
    assert await third == {"b": "revoked"}
    assert len(table.asked) == 3


async def test_query_error_is_raised_in_all_its_lookups() -> None:
    """Other lookups are not affected."""
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


async def test_query_error_of_a_single_lookup_is_not_reported_as_unretrieved() -> None:
    """asyncio logs exceptions of tasks that are never awaited."""
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


async def test_lookup_behind_a_stuck_query_starts_its_own_after_a_while() -> None:
    """An unreachable database does not answer."""
    table = Table()
    lookups = Lookups(table.look, 0.01)
    stuck = asyncio.create_task(lookups.find(["a"]))
    behind = asyncio.create_task(lookups.find(["b"]))
    async with asyncio.timeout(WAITING_SECONDS):
        while len(table.asked) < 2:  # noqa: ASYNC110 - the wait ends by the clock
            await asyncio.sleep(0.01)
    assert not stuck.done()
    table.answer(2)
    assert [await stuck, await behind] == [{"a": "A"}, {"b": "B"}]


async def test_query_holds_at_most_the_maximum_of_ids() -> None:
    """Further ids go into another query."""
    table = Table()
    lookups = Lookups(table.look, WAITING_SECONDS)
    many = [f"{number}" for number in range(MAX_IDS)]
    tasks = [asyncio.create_task(lookups.find(ids)) for ids in (["a"], many, ["b"], ["c"])]
    await _begun(*tasks)
    table.answer(3)
    await asyncio.gather(*tasks)
    assert table.asked == [{"a"}, set(many), {"b", "c"}]


async def test_cancelled_lookup_leaves_the_others_their_answer() -> None:
    """Also the lookup that began the query."""
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
    table.answer()
    assert await stays == {"a": "A"}
    table.answer()
    assert await lookups.find(["a"]) == {"a": "A"}


async def test_query_has_no_deadline_of_the_lookup_that_began_it() -> None:
    """Lookups of other requests join it, and a service may send requests with a tiny timeout."""
    deadlines: list[Deadline | None] = []

    async def query(ids: Sequence[str]) -> dict[str, str]:
        deadlines.append(request_deadline.get())
        return dict.fromkeys(ids, "found")

    mine = Deadline.of_request(at=0.0, timeout_seconds=0.1)
    request_deadline.set(mine)
    assert await Lookups(query).find(["a"]) == {"a": "found"}
    assert deadlines == [None]
    assert request_deadline.get() is mine
