"""Whose turn it is on the password lane: a share of its places and of its hashing threads for each tenant.

A worker takes more requests than it hashes at a time, so that one tenant's do not stand before all others in the queue
of the broker. What waits, waits here, by tenant; and of the tenants whose passwords wait for a thread, the one with the
fewest on threads is next; of several such, the one whose last turn is longest ago.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from shared.amqp.pace import Pace
from shared.contracts.errors import DeadlineExceeded, Overloaded
from worker.domain.call import Call

#: Of one tenant are dealt with at a time: as many as are hashed, and these beyond. One is looked up and one is stored
#: meanwhile, or a hashing thread would wait for the database and the broker at each login.
BEYOND_THREADS = 2
#: Of tenants, remembered to refuse the next requests of a storm early: a few hundred kilobytes.
MAX_SESSIONS = 1_024
#: That of the request that has entered in this task.
_mine: ContextVar["_Turn | None"] = ContextVar("mine", default=None)
#: For requests that do not say how long anybody waits for their answers.
USUAL_SECONDS = 5.0


@dataclass(eq=False, slots=True)
class _Line:
    """The requests of one tenant that are here."""

    group: str
    going: int = 0
    """Dealt with now."""
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    """In turn."""
    hashing: int = 0
    """On threads."""
    to_hash: deque[asyncio.Future[None]] = field(default_factory=deque)
    """Waiting for a thread."""
    last_turn: int = 0
    """When one of them got a thread, counted in turns of all."""
    pace: Pace = field(default_factory=Pace)

    @property
    def held(self) -> int:
        return self.going + len(self.waiting)


@dataclass(eq=False, slots=True)
class _Turn:
    """Of one request that has entered."""

    line: _Line
    expires_at: float | None
    """None once it has had a thread: what has begun is finished."""


class FairTurns:
    """Implements the port `Turns`, and gives the hashing threads to who is next."""

    def __init__(self, threads: int, places: int, *, on_waited: Callable[[float], None] = lambda _: None) -> None:
        """`places` is how many requests are here at most: the prefetch of the lane. `on_waited` hears for how many
        seconds each has waited for its turn."""
        self._threads = threads
        self._at_a_time = threads + BEYOND_THREADS
        self._free_places = places
        self._free_threads = threads
        self._lines: dict[str, _Line] = {}
        self._to_hash: list[_Line] = []
        """Lines with a password that waits for a thread."""
        self._turns = 0
        self._whose: dict[str, str] = {}
        """Whose the sessions are that entered last; those of one tenant are that tenant's for ever."""
        self._on_waited = on_waited

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn, of all tenants."""
        return sum(len(line.waiting) for line in self._lines.values())

    def refuse_early(self, session: str | None) -> None:
        line = self._lines.get(self._whose.get(session or "", ""))
        if line is not None:
            self._refuse_beyond_share(line, USUAL_SECONDS)

    async def enter(self, group: str, call: Call, session: str | None = None) -> None:
        if session is not None:
            self._remember(session, group)
        line = self._lines.setdefault(group, _Line(group))
        self._refuse_beyond_share(line, USUAL_SECONDS if call.expires_at is None else call.expires_at - self._now())
        self._free_places -= 1
        with contextlib.ExitStack() as undo:
            undo.callback(self._leave_places, line)
            since = self._now()
            with line.pace.way():
                if line.going < self._at_a_time:
                    line.going += 1
                else:
                    await self._wait(line, call)
            self._on_waited(self._now() - since)
            _mine.set(_Turn(line, call.expires_at))
            undo.pop_all()

    def leave(self) -> None:
        turn = _mine.get()
        if turn is None:  # it was refused, or has not entered
            return
        _mine.set(None)
        self._next(turn.line)
        self._leave_places(turn.line)

    @contextlib.asynccontextmanager
    async def thread(self) -> AsyncIterator[None]:
        """Around one hash, of the request that has entered in this task: there is a thread for it.

        Raises `DeadlineExceeded` before the first one when nobody waits for the answer any more.
        """
        turn = _mine.get() or _Turn(_Line(""), None)
        line = turn.line
        if self._free_threads:
            self._free_threads -= 1
            self._begin(line)
        else:
            await self._wait_for_thread(line)
        try:
            if turn.expires_at is not None and turn.expires_at < self._now():
                raise DeadlineExceeded
            turn.expires_at = None
            yield
        finally:
            line.hashing -= 1
            self._pass_thread_on()

    def _refuse_beyond_share(self, line: _Line, seconds: float) -> None:
        # A share that needs no setting: one tenant gets half of the places; n tenants that each want all of them get
        # 1 / (n + 1) each, and as many are left for whoever comes next.
        if line.held >= self._free_places:
            self._forget_if_empty(line)
            raise Overloaded(retry_after_seconds=line.pace.retry_after_seconds(max(seconds, 0.0)))

    def _remember(self, session: str, group: str) -> None:
        self._whose.pop(session, None)
        self._whose[session] = group
        if len(self._whose) > MAX_SESSIONS:
            del self._whose[next(iter(self._whose))]

    async def _wait(self, line: _Line, call: Call) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.waiting.append(turn)
        try:
            async with asyncio.timeout_at(call.expires_at):
                await turn
        except BaseException as error:
            if turn in line.waiting:
                line.waiting.remove(turn)
            elif not turn.cancelled():  # it was this one's turn a moment ago
                self._next(line)
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded from None
            raise

    def _next(self, line: _Line) -> None:
        """One of the line is done: whoever waits longest goes on in its place."""
        while line.waiting:
            turn = line.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        line.going -= 1

    def _leave_places(self, line: _Line) -> None:
        self._free_places += 1
        self._forget_if_empty(line)

    def _forget_if_empty(self, line: _Line) -> None:
        if not line.held:
            self._lines.pop(line.group, None)

    async def _wait_for_thread(self, line: _Line) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.to_hash.append(turn)
        if line not in self._to_hash:
            self._to_hash.append(line)
        try:
            await turn
        except BaseException:
            if turn in line.to_hash:
                line.to_hash.remove(turn)
            elif not turn.cancelled():  # it was given the thread a moment ago
                line.hashing -= 1
                self._pass_thread_on()
            raise

    def _pass_thread_on(self) -> None:
        while self._to_hash:
            line = min(self._to_hash, key=lambda line: (line.hashing, line.last_turn))
            turn = line.to_hash.popleft() if line.to_hash else None
            if not line.to_hash:
                self._to_hash.remove(line)
            if turn is not None and not turn.done():
                self._begin(line)
                turn.set_result(None)
                return
        self._free_threads += 1

    def _begin(self, line: _Line) -> None:
        self._turns += 1
        line.last_turn = self._turns
        line.hashing += 1

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
