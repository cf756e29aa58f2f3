"""A steady mixed load: callers that go through users' lives and record all answers."""

import asyncio
import contextlib
import itertools
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from shared.contracts.errors import AuthError, DeadlineExceeded, InvalidToken, Overloaded, Unavailable
from tests.faults.accounts import Account, Fate, Unsure, session_id
from tests.faults.transports import PATIENCE_SECONDS, Transport, UncleanAnswer

PASSWORD = "correct horse battery"
#: Errors that a caller may get during an outage.
REFUSALS = (Unavailable, Overloaded, DeadlineExceeded)
#: Leaves processor time for restarting processes on a small machine.
PAUSE_SECONDS = 0.02
PAUSE_AFTER_REFUSAL_SECONDS = 0.3

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Answer:
    """The outcome of one call, with times of `time.monotonic`."""

    operation: str
    transport: str
    started: float
    ended: float
    code: str
    """`ok`, an error code, or a description of an unclean answer."""

    @property
    def seconds(self) -> float:
        return self.ended - self.started


@dataclass
class Records:
    """Everything that the callers were answered."""

    answers: list[Answer] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    """Answers that contradict an earlier one, or that no caller may get."""

    def codes(self, since: float = 0.0, operation: str | None = None) -> Counter[str]:
        """Count the answers by code, for calls started since this time."""
        return Counter(
            answer.code for answer in self.answers if answer.started >= since and operation in {None, answer.operation}
        )

    def slowest(self, since: float = 0.0, until: float = float("inf")) -> float:
        """Return the seconds of the slowest call that ended in this period."""
        return max((answer.seconds for answer in self.answers if since <= answer.ended <= until), default=0.0)


class Load:
    """Running callers, made by `running`."""

    def __init__(self, transports: Sequence[Transport]) -> None:
        self.records = Records()
        self._transports = transports
        self._names = itertools.count()
        self._run = uuid.uuid4().hex[:6]
        self._finished = asyncio.Event()

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, transports: Sequence[Transport], callers: int = 4) -> AsyncIterator["Load"]:
        """Run callers. The block begins when every operation was answered; at its end the callers
        finish their calls.
        """
        load = cls(transports)
        async with asyncio.TaskGroup() as tasks:
            for number in range(callers):
                tasks.create_task(load._live(transports[number % len(transports)]))
            try:
                await load.progress(lives=1)
                yield load
            finally:
                load._finished.set()

    async def progress(self, *, lives: int = 1) -> None:
        """Wait until this many more users have gone through all operations. Raise `TimeoutError`."""
        enough = self._lives() + lives
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self._lives() < enough:  # noqa: ASYNC110 (other processes change the condition)
                await asyncio.sleep(PAUSE_SECONDS)

    async def acknowledged(self, count: int, transport: str) -> None:
        """Wait until this many more calls over this transport are answered `ok`. Raise `TimeoutError`."""
        begin = len(self.records.answers)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self._acknowledged(begin, transport) < count:  # noqa: ASYNC110 (other processes change the condition)
                await asyncio.sleep(PAUSE_SECONDS)

    def _acknowledged(self, begin: int, transport: str) -> int:
        answers = itertools.islice(self.records.answers, begin, None)
        return sum(1 for answer in answers if (answer.transport, answer.code) == (transport, "ok"))

    def _lives(self) -> int:
        return sum(1 for answer in self.records.answers if (answer.operation, answer.code) == ("delete", "ok"))

    async def _live(self, transport: Transport) -> None:
        """Run one user's life after another; every second user is kept, so that a loss is noticed."""
        for number in itertools.count():
            account = Account(f"user-{self._run}-{next(self._names)}", PASSWORD)
            self.records.accounts.append(account)
            try:
                await self._life(transport, account, kept=number % 2 == 0)
            except _Abandoned:
                await asyncio.sleep(PAUSE_AFTER_REFUSAL_SECONDS)
            if self._finished.is_set():
                return

    async def _life(self, transport: Transport, account: Account, *, kept: bool) -> None:
        caller = _Caller(transport, account, self.records, self._finished)
        await caller.create()
        first, second, third = [await caller.login() for _ in range(3)]
        for token in (first, second, third):
            await caller.verify(token)
        await caller.logout(first)
        await caller.verify(first)
        await caller.revoke(second)
        await caller.verify(second)
        await caller.revoke_all()
        await caller.verify(third)
        fourth = await caller.login()
        await caller.change_password(f"{PASSWORD} {account.login}")
        await caller.verify(fourth)
        fifth = await caller.login()
        await caller.verify(fifth)
        if not kept:
            await caller.delete()
            await caller.verify(fifth)


class _Abandoned(Exception):
    """The state of this account is unknown, or the load has ended."""


class _Caller:
    """Calls for one account, each repeated until it is answered or must not be repeated."""

    def __init__(self, transport: Transport, account: Account, records: Records, finished: asyncio.Event) -> None:
        self._transport = transport
        self._account = account
        self._records = records
        self._finished = finished

    async def create(self) -> None:
        await self._change(
            "create",
            Unsure.CREATION,
            lambda: self._transport.create(self._account.login, self._account.password),
        )

    async def login(self) -> str:
        while True:
            # A login of unknown outcome may leave an unused session, which does no harm.
            with contextlib.suppress(*REFUSALS):
                token = await self._call(
                    "login", lambda: self._transport.login(self._account.login, self._account.password)
                )
                self._account.sessions[token] = Fate.LIVE
                return token
            await self._pause_after_refusal()

    async def verify(self, token: str) -> None:
        """Verify a token and record an answer that contradicts an acknowledgement."""
        try:
            await self._call("verify", lambda: self._transport.verify(token), expected=(InvalidToken,))
        except REFUSALS:
            return
        except InvalidToken:
            if self._account.sessions[token] is Fate.LIVE:
                self._violate(f"verify refused a live session: {session_id(token)}")
        else:
            if self._account.sessions[token] is Fate.ENDED:
                self._violate(f"verify accepted an ended session: {session_id(token)}")

    async def logout(self, token: str) -> None:
        await self._end(token, "logout", lambda: self._transport.logout(token))

    async def revoke(self, token: str) -> None:
        await self._end(token, "revoke", lambda: self._transport.revoke(self._account.login, session_id(token)))

    async def revoke_all(self) -> None:
        await self._change("revoke_all", Unsure.REVOCATION, lambda: self._transport.revoke_all(self._account.login))
        self._account.end_all()

    async def change_password(self, password: str) -> None:
        self._account.new_password = password
        await self._change(
            "change_password",
            Unsure.PASSWORD,
            lambda: self._transport.change_password(self._account.login, password),
        )
        self._account.password, self._account.new_password = password, None
        self._account.end_all()

    async def delete(self) -> None:
        await self._change("delete", Unsure.DELETION, lambda: self._transport.delete(self._account.login))
        self._account.deleted = True
        self._account.end_all()

    async def _end(self, token: str, operation: str, call: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await self._call(operation, call)
            except Overloaded:
                await self._pause_after_refusal()
                continue
            except REFUSALS:
                self._account.sessions[token] = Fate.UNKNOWN
            else:
                self._account.sessions[token] = Fate.ENDED
            return

    async def _change(self, operation: str, unsure: Unsure, call: Callable[[], Awaitable[None]]) -> None:
        """Change the account. A refused change may still be in flight, so the account is abandoned."""
        while True:
            self._account.unsure = unsure
            try:
                await self._call(operation, call)
            except Overloaded:
                self._account.unsure = None
                await self._pause_after_refusal()
                continue
            except REFUSALS:
                raise _Abandoned from None
            self._account.unsure = None
            return

    async def _call(
        self,
        operation: str,
        call: Callable[[], Awaitable[ResultT]],
        expected: tuple[type[AuthError], ...] = (),
    ) -> ResultT:
        started = time.monotonic()
        code = "cancelled"
        try:
            result = await asyncio.wait_for(call(), PATIENCE_SECONDS)
        except AuthError as error:
            code = error.code
            if not isinstance(error, REFUSALS + expected):
                self._violate(f"{operation} was answered {error.code}")
                raise _Abandoned from error
            raise
        except (UncleanAnswer, TimeoutError) as error:
            code = f"{type(error).__name__}: {error}"
            self._violate(f"{operation} was answered {code}")
            raise _Abandoned from error
        else:
            code = "ok"
            return result
        finally:
            self._records.answers.append(Answer(operation, self._transport.name, started, time.monotonic(), code))
            await asyncio.sleep(PAUSE_SECONDS)

    async def _pause_after_refusal(self) -> None:
        if self._finished.is_set():
            raise _Abandoned
        await asyncio.sleep(PAUSE_AFTER_REFUSAL_SECONDS)

    def _violate(self, text: str) -> None:
        self._records.violations.append(f"{self._account.login} over {self._transport.name}: {text}")
