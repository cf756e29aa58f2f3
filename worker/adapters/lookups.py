"""Lookups that coalesce: what is asked for while the database is busy with a query of ours travels in the next one.

Verifications come in batches, one query each. Where many edges and clients send small ones, the queries would be most
of the work: so those that meet at a worker become one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from shared.contracts.errors import Unavailable

RecordT = TypeVar("RecordT")

#: In one query. A batch of verifications may have as many by itself; more together would make the small ones wait.
MAX_IDS = 256
#: A query takes some milliseconds. Nobody waits behind one that takes long: the database may be away, and whoever asks
#: is to hear that in time.
MAX_WAIT_SECONDS = 0.1


class _Query(Generic[RecordT]):
    """Until it is under way, others may join."""

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids = set(ids)
        self.found: asyncio.Future[dict[str, RecordT]] = asyncio.get_running_loop().create_future()


class Lookups(Generic[RecordT]):
    """Finds records by their ids, with one query under way at a time, unless it takes long. A lone lookup waits for
    nothing.

    A query begins after the last who joined it has asked, so it sees every write that was acknowledged by then.
    """

    def __init__(
        self,
        look: Callable[[Sequence[str]], Awaitable[dict[str, RecordT]]],
        max_wait_seconds: float = MAX_WAIT_SECONDS,
    ) -> None:
        """`look` is the query. What it raises is raised to all who travel in it."""
        self._look = look
        self._max_wait_seconds = max_wait_seconds
        self._latest: _Query[RecordT] | None = None
        self._joinable: _Query[RecordT] | None = None

    async def find(self, ids: Sequence[str]) -> dict[str, RecordT]:
        """Those of these records that exist."""
        query = self._joinable
        if query is None or len(query.ids) + len(ids) > MAX_IDS:
            found = await self._ask(_Query(ids))
        else:
            query.ids.update(ids)
            found = await asyncio.shield(query.found)  # who gives up takes nobody along
        return {each: found[each] for each in ids if each in found}

    async def _ask(self, query: _Query[RecordT]) -> dict[str, RecordT]:
        before, self._latest, self._joinable = self._latest, query, query
        try:
            if before is not None:
                await asyncio.wait([before.found], timeout=self._max_wait_seconds)
            self._begin(query)
            found = await self._look(list(query.ids))
        except BaseException as error:
            self._begin(query)
            # Whoever asked may have been cancelled, and nobody else in the query was.
            query.found.set_exception(error if isinstance(error, Exception) else Unavailable())
            query.found.exception()  # there may be nobody else, and asyncio would complain
            raise
        else:
            query.found.set_result(found)
            return found
        finally:
            if self._latest is query:  # what was found is not kept
                self._latest = None

    def _begin(self, query: _Query[RecordT]) -> None:
        """Nobody joins it any more."""
        if self._joinable is query:
            self._joinable = None
