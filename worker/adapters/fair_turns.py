"""Fair turns on the password lane: each tenant gets a share of the worker's places and of its hashing threads.

A worker takes more requests than it hashes at once, so that one tenant's requests do not block all
others in the broker's queue. Requests wait here, grouped by tenant:

- for a place: a group that holds as many places as are free gets no more;
- for their turn: only as many requests of a group as keep the threads busy read the database. The
  others may reach their deadline without any work;
- for a thread: the next free thread goes to the group that uses the fewest threads. If several do,
  the one that has waited longest for a turn gets it. Heavy groups, those that hold more
  requests than others, get at most one of four turns while others wait.
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

#: Turns of other groups between two turns of heavy groups. So a storm leaves others three quarters
#: of the hashing. Half of the hashing would be less than half of their idle rate, because the
#: storm's requests also take CPU.
TURNS_BETWEEN_HEAVY_GROUPS = 3
#: A group is heavy if it holds more than this many times the average of all groups that hold
#: requests. Groups that are nearly equal take equal turns. An attacker's three groups are all heavy.
HEAVY = 1.1
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
        self._last_heavy_turn = 0
        """When a heavy group last got a thread."""
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
        return _Group(name, asyncio.Semaphore(self._at_a_time))

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
            candidates = self._to_hash
            if self._turns - self._last_heavy_turn < TURNS_BETWEEN_HEAVY_GROUPS:
                candidates = [group for group in self._to_hash if not self._is_heavy(group)] or self._to_hash
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
        if self._is_heavy(group):
            self._last_heavy_turn = self._turns

    def _is_heavy(self, group: _Group) -> bool:
        return group.held * len(self._groups) > HEAVY * (self._places - self._free_places)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
