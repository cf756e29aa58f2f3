"""Coalesced lookups: ids requested while a query is in flight are combined into the next query.

Verifications arrive in batches of one query each. If many edges and clients send small batches,
queries are most of the work, so a worker coalesces them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from shared.contracts.errors import Unavailable
from worker.domain.deadline import request_deadline

RecordT = TypeVar("RecordT")

#: The most ids in one query, as many as one batch of verifications has. Larger queries would delay
#: small batches.
MAX_IDS = 256
#: A query takes some milliseconds. After this time a lookup stops waiting for the query in flight
#: and starts its own. The database may be unavailable, and the caller must learn that in time.
MAX_WAIT_SECONDS = 0.1


class _Query(Generic[RecordT]):
    """A query that other lookups may join until it is sent."""

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids = set(ids)
        self.found: asyncio.Future[dict[str, RecordT]] = asyncio.get_running_loop().create_future()


class Lookups(Generic[RecordT]):
    """Finds records by id, with one query in flight at a time unless it takes long.

    A lookup waits only while another query is in flight. A query is sent after the last lookup has
    joined it, so it sees every write that was acknowledged before that lookup.
    """

    def __init__(
        self,
        query: Callable[[Sequence[str]], Awaitable[dict[str, RecordT]]],
        max_wait_seconds: float = MAX_WAIT_SECONDS,
    ) -> None:
        """`query` runs one query. An exception that it raises is raised to all lookups that joined it."""
        self._query = query
        self._max_wait_seconds = max_wait_seconds
        self._latest: _Query[RecordT] | None = None
        self._joinable: _Query[RecordT] | None = None
        self._queries: set[asyncio.Task[None]] = set()

    async def find(self, ids: Sequence[str]) -> dict[str, RecordT]:
        """Return the records with these ids, by id. Ids of no record are left out."""
        query = self._joinable
        if query is None or len(query.ids) + len(ids) > MAX_IDS:
            query = self._begin(ids)
        else:
            query.ids.update(ids)
        found = await asyncio.shield(query.found)  # a cancelled lookup must not cancel the others
        return {each: found[each] for each in ids if each in found}

    def _begin(self, ids: Sequence[str]) -> _Query[RecordT]:
        query = _Query[RecordT](ids)
        before, self._latest = self._latest, query
        self._joinable = query if before is not None else None
        # A task of its own: the lookup that begins the query may be cancelled, or have less time
        # left than those that join.
        task = asyncio.create_task(self._send(query, before))
        self._queries.add(task)
        task.add_done_callback(self._queries.discard)
        return query

    async def _send(self, query: _Query[RecordT], before: _Query[RecordT] | None) -> None:
        request_deadline.set(None)
        try:
            if before is not None:
                await asyncio.wait([before.found], timeout=self._max_wait_seconds)
            self._close(query)
            query.found.set_result(await self._query(list(query.ids)))
        except BaseException as error:
            self._close(query)
            query.found.set_exception(error if isinstance(error, Exception) else Unavailable())
            query.found.exception()  # marks it as retrieved: asyncio would warn if no lookup is left
            if not isinstance(error, Exception):
                raise
        finally:
            if self._latest is query:  # results are not cached
                self._latest = None

    def _close(self, query: _Query[RecordT]) -> None:
        """Close the query to further lookups."""
        if self._joinable is query:
            self._joinable = None
