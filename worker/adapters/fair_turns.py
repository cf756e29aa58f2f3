"""Fair turns on the password lane: each tenant gets a share of the worker's places and of its hashing threads.

A worker takes more requests than it hashes at once, so that one tenant's requests do not block all
others in the broker's queue. Requests wait here, grouped by tenant:

- for a place: a group that holds as many places as are free gets no more;
- for their turn: only as many requests of a group as keep the threads busy read the database. The
  others may reach their deadline without any work;
- for a thread: the next free thread goes to the group that uses the fewest threads. If several do,
  the one that has waited longest for a turn gets it. A group that holds far more requests than each
  other group sits out one round of turns between two turns of its own. So n groups get at least one
  of n + 1 turns each.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from shared.contracts.errors import DeadlineExceeded, Overloaded
from worker.domain.call import Call
from worker.domain.ports import BEYOND_THREADS

#: A group is the heaviest if it holds more than this many times the requests of each other group. Groups
#: with similar loads take equal turns.
HEAVIEST = 2
#: The turn of the request that entered in this task.
_turn: ContextVar["_Turn | None"] = ContextVar("turn", default=None)


@dataclass(eq=False, slots=True)
class _Group:
    """The requests of one group in this worker."""

    name: str
    turns: asyncio.Semaphore
    """Limits the requests whose turn has come. The others wait, the oldest first."""
    held: int = 0
    """Requests with a place."""
    hashing: int = 0
    """Hashes on threads."""
    to_hash: deque[asyncio.Future[None]] = field(default_factory=deque)
    """Hashes that wait for a thread, the oldest first."""
    last_turn: int = 0
    """When the group last got a thread, counted in turns of all groups."""


@dataclass(eq=False, slots=True)
class _Turn:
    """The turn of one request."""

    group: _Group
    expires_at: float | None
    """The deadline, in event-loop time. None from the first hash on: a request that began hashing is finished."""


class FairTurns:
    """Implements the port `Turns`, and assigns the hashing threads."""

    def __init__(self, threads: int, places: int, *, on_waited: Callable[[float], None] = lambda _: None) -> None:
        """`places` is the maximum number of requests, the prefetch of the lane.

        `on_waited` is called with the seconds that each request waited for its turn.
        """
        self._at_a_time = threads + BEYOND_THREADS
        self._places = places
        self._free_places = places
        self._free_threads = threads
        self._groups: dict[str, _Group] = {}
        self._to_hash: list[_Group] = []
        """Groups with a hash that waits for a thread."""
        self._turns = 0
        self._on_waited = on_waited

    @property
    def waiting(self) -> int:
        """How many requests of all groups wait for their turn."""
        # A copy, made in one step: Prometheus reads this in a thread of its own.
        return sum(max(group.held - self._at_a_time, 0) for group in list(self._groups.values()))

    async def enter(self, group: str, call: Call) -> None:
        members = self._groups.get(group) or self._new_group(group)
        # One busy group gets half of the places. With n busy groups, each gets 1/(n + 1) of them, and
        # the same share stays free for the next group.
        if members.held >= self._free_places:
            raise Overloaded
        self._groups[group] = members
        self._free_places -= 1
        members.held += 1
        since = self._now()
        try:
            async with asyncio.timeout_at(call.expires_at):
                await members.turns.acquire()
        except BaseException as error:
            self._leave_place(members)
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded from None
            raise
        self._on_waited(self._now() - since)
        _turn.set(_Turn(members, call.expires_at))

    def leave(self) -> None:
        turn = _turn.get()
        if turn is None:  # the request was refused or has not entered
            return
        _turn.set(None)
        turn.group.turns.release()
        self._leave_place(turn.group)

    @contextlib.asynccontextmanager
    async def thread(self) -> AsyncIterator[None]:
        """Wait for a thread for one hash of the request that entered in this task. The thread is free again at exit.

        Raises `DeadlineExceeded` before the first hash if the request's deadline has passed.
        """
        turn = _turn.get() or _Turn(self._new_group(""), None)
        group = turn.group
        if self._free_threads:
            self._free_threads -= 1
            self._begin(group)
        else:
            await self._wait_for_thread(group)
        try:
            if turn.expires_at is not None and turn.expires_at < self._now():
                raise DeadlineExceeded
            turn.expires_at = None
            yield
        finally:
            group.hashing -= 1
            self._pass_thread_on()

    def _new_group(self, name: str) -> _Group:
        # As if it had just had its turn: a tenant with one request at a time is a new group each time,
        # and would otherwise always be served before groups that stay.
        return _Group(name, asyncio.Semaphore(self._at_a_time), last_turn=self._turns)

    def _leave_place(self, group: _Group) -> None:
        self._free_places += 1
        group.held -= 1
        if not group.held:
            del self._groups[group.name]

    async def _wait_for_thread(self, group: _Group) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        group.to_hash.append(turn)
        if group not in self._to_hash:
            self._to_hash.append(group)
        try:
            await turn
        except BaseException:
            if turn in group.to_hash:
                group.to_hash.remove(turn)
            elif not turn.cancelled():  # it got a thread just before it was cancelled
                group.hashing -= 1
                self._pass_thread_on()
            raise

    def _pass_thread_on(self) -> None:
        while self._to_hash:
            candidates = [group for group in self._to_hash if not self._sits_out(group)] or self._to_hash
            group = min(candidates, key=lambda group: (group.hashing, group.last_turn))
            turn = group.to_hash.popleft() if group.to_hash else None
            if not group.to_hash:
                self._to_hash.remove(group)
            if turn is not None and not turn.done():
                self._begin(group)
                turn.set_result(None)
                return
        self._free_threads += 1

    def _begin(self, group: _Group) -> None:
        self._turns += 1
        group.last_turn = self._turns
        group.hashing += 1

    def _sits_out(self, group: _Group) -> bool:
        """Return whether the group is the heaviest and has had a turn within this round of all groups.

        An equal share would leave another tenant less than half of its idle rate in a storm, because
        the storm's requests take CPU besides their hashes.
        """
        if self._turns - group.last_turn >= len(self._groups):
            return False
        most = max((each.held for each in self._groups.values() if each is not group), default=0)
        return group.held > HEAVIEST * most

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
