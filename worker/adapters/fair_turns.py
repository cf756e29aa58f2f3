"""Fair turns on the password lane: each tenant gets a share of the worker's places and of its hashing threads.

A worker takes more requests than it hashes at once, so that one tenant's requests do not block all
others in the broker's queue. Requests wait here, grouped by tenant. The next free thread goes to
the group that uses the fewest threads. Among several such groups it goes to the one whose last turn
is longest ago.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from shared.amqp.drain_estimate import DrainEstimate
from shared.contracts.errors import DeadlineExceeded, Overloaded
from worker.domain.call import Call
from worker.domain.ports import BEYOND_THREADS

#: Tenant sessions remembered for early refusals during an overload: a few hundred kilobytes.
MAX_SESSIONS = 1_024
#: The turn of the request that entered in this task.
_turn: ContextVar["_Turn | None"] = ContextVar("turn", default=None)
#: The assumed time to the deadline of requests that have none.
USUAL_SECONDS = 5.0


@dataclass(eq=False, slots=True)
class _Group:
    """The requests of one group in this worker."""

    name: str
    active: int = 0
    """Requests whose turn has come."""
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    """Requests that wait for their turn, the oldest first."""
    hashing: int = 0
    """Hashes on threads."""
    to_hash: deque[asyncio.Future[None]] = field(default_factory=deque)
    """Hashes that wait for a thread, the oldest first."""
    last_turn: int = 0
    """When the group last got a thread, counted in turns of all groups."""
    pace: DrainEstimate = field(default_factory=DrainEstimate)

    @property
    def held(self) -> int:
        return self.active + len(self.waiting)


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
        self._threads = threads
        self._at_a_time = threads + BEYOND_THREADS
        self._free_places = places
        self._free_threads = threads
        self._groups: dict[str, _Group] = {}
        self._to_hash: list[_Group] = []
        """Groups with a hash that waits for a thread."""
        self._turns = 0
        self._group_of: dict[str, str] = {}
        """The group of each of the latest sessions. It never changes, since a session belongs to one tenant."""
        self._proven_by: dict[str, str] = {}
        """The tenant that each service has proven last. Only operators add services, so there are few."""
        self._on_waited = on_waited

    @property
    def waiting(self) -> int:
        """How many requests of all groups wait for their turn."""
        # A copy, made in one step: Prometheus reads this in a thread of its own.
        return sum(len(group.waiting) for group in list(self._groups.values()))

    def refuse_early(self, session: str | None) -> None:
        group = self._groups.get(self._group_of.get(session or "", ""))
        if group is not None:
            self._refuse_beyond_share(group, USUAL_SECONDS)

    async def enter(self, group: str, call: Call, session: str | None = None) -> None:
        if session is not None:
            self._remember(session, group)
        if call.service is not None:  # logins of tenants through a service are no second share of that service's tenant
            if session is not None:
                self._proven_by[call.service] = group
            group = self._proven_by.get(call.service, group)
        members = self._groups.setdefault(group, _Group(group))
        self._refuse_beyond_share(members, USUAL_SECONDS if call.expires_at is None else call.expires_at - self._now())
        self._free_places -= 1
        with contextlib.ExitStack() as undo:
            undo.callback(self._leave_place, members)
            since = self._now()
            with members.pace.measure():
                if members.active < self._at_a_time:
                    members.active += 1
                else:
                    await self._wait(members, call)
            self._on_waited(self._now() - since)
            _turn.set(_Turn(members, call.expires_at))
            undo.pop_all()

    def leave(self) -> None:
        turn = _turn.get()
        if turn is None:  # the request was refused or has not entered
            return
        _turn.set(None)
        self._next(turn.group)
        self._leave_place(turn.group)

    @contextlib.asynccontextmanager
    async def thread(self) -> AsyncIterator[None]:
        """Wait for a thread for one hash of the request that entered in this task. The thread is free again at exit.

        Raises `DeadlineExceeded` before the first hash if the request's deadline has passed.
        """
        turn = _turn.get() or _Turn(_Group(""), None)
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

    def _refuse_beyond_share(self, group: _Group, seconds: float) -> None:
        # A share that needs no setting: one busy group gets half of the places. n busy groups get 1
        # / (n + 1) of them each, and the same share stays free for the next group.
        if group.held >= self._free_places:
            self._forget_if_empty(group)
            raise Overloaded(retry_after_seconds=group.pace.retry_after_seconds(max(seconds, 0.0)))

    def _remember(self, session: str, group: str) -> None:
        self._group_of.pop(session, None)
        self._group_of[session] = group
        if len(self._group_of) > MAX_SESSIONS:
            del self._group_of[next(iter(self._group_of))]

    async def _wait(self, group: _Group, call: Call) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        group.waiting.append(turn)
        try:
            async with asyncio.timeout_at(call.expires_at):
                await turn
        except BaseException as error:
            if turn in group.waiting:
                group.waiting.remove(turn)
            elif not turn.cancelled():  # its turn came just before it was cancelled
                self._next(group)
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded from None
            raise

    def _next(self, group: _Group) -> None:
        """Give the place of a finished request to the group's oldest waiting request."""
        while group.waiting:
            turn = group.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        group.active -= 1

    def _leave_place(self, group: _Group) -> None:
        self._free_places += 1
        self._forget_if_empty(group)

    def _forget_if_empty(self, group: _Group) -> None:
        if not group.held and self._groups.get(group.name) is group:  # a new group may have taken its place
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
            group = min(self._to_hash, key=lambda group: (group.hashing, group.last_turn))
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

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
