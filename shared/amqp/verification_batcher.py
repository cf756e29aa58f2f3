"""Coalesces concurrent verifications: one message and one database query for a batch of checks."""

import asyncio
import contextlib
import logging
import math
from dataclasses import dataclass

from ..contracts.auth_verify import (
    AUTH_VERIFY,
    MAX_BATCH,
    MAX_BATCH_BYTES,
    AuthVerifyRequest,
    CallerSession,
    VerifyAnswer,
    VerifyCheck,
)
from ..contracts.claims import Claims
from ..contracts.errors import (
    AuthError,
    DeadlineExceeded,
    InternalError,
    InvalidTenantToken,
    InvalidToken,
    Overloaded,
)
from ..contracts.wire import MAX_TOKEN_CHARS
from .equal_deadlines import EqualDeadlines
from .rpc_port import DEFAULT_TIMEOUT_SECONDS, Rpc
from .telemetry import Tracing

log = logging.getLogger(__name__)

#: Maximum number of batches in flight: one is at a worker while the other is on the network or in
#: this process. More would only make batches smaller, and the fixed cost of a batch is that of a
#: dozen checks (docs/performance.md).
DEFAULT_MAX_BATCHES_IN_FLIGHT = 2
#: A batch that takes longer counts as stalled and no longer delays the next one: its reply may be
#: lost. The time is far longer than a batch usually takes. If all batches take longer, more of them
#: are in flight.
STALLED_SECONDS = 0.5
#: Maximum number of queued checks. With more, the last caller would not get its answer in time.
MAX_QUEUED_CHECKS = 4_096
#: Maximum size of queued checks, to limit the memory of this process: `MAX_QUEUED_CHECKS` checks
#: with tokens of 4 KB each.
MAX_QUEUED_BYTES = 32 * MAX_BATCH_BYTES
#: The JSON around the checks of a batch, `{"checks":[` and `]}`, and the comma after each check.
_FRAME_BYTES = 13
_COMMA_BYTES = 1


@dataclass(frozen=True, slots=True)
class Verified:
    """The claims of a valid user token, and the caller's session if the answer tells it."""

    claims: Claims
    caller: CallerSession | None


@dataclass(frozen=True, slots=True)
class _QueuedCheck:
    """A check, and the number of bytes that it adds to a request."""

    check: VerifyCheck
    size: int


CheckResult = tuple[VerifyAnswer, BaseException | None]
"""The answer to a check, and the cause of its error if the batch failed."""
#: Checks in order of arrival, by the future that the caller awaits.
Batch = dict[asyncio.Future[CheckResult], VerifyCheck]


class VerificationBatcher:
    """Verifies tokens in batches; each caller gets the worker's answer to its own check.

    With fewer than `max_batches_in_flight` batches in flight, a check is sent in the same turn of
    the event loop. So a single call does not wait. Otherwise it is sent with the next batch, when
    another batch is answered or stalls.
    """

    def __init__(
        self,
        rpc: Rpc,
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        max_batches_in_flight: int = DEFAULT_MAX_BATCHES_IN_FLIGHT,
        stalled_seconds: float = STALLED_SECONDS,
        tracing: Tracing | None = None,
    ) -> None:
        self._rpc = rpc
        self._timeout_seconds = timeout_seconds
        self._deadlines = EqualDeadlines(timeout_seconds)
        self._max_batches_in_flight = max_batches_in_flight
        self._stalled_seconds = stalled_seconds
        self._tracing = tracing
        self._queue: dict[asyncio.Future[CheckResult], _QueuedCheck] = {}
        self._queued_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight: dict[asyncio.Task[None], asyncio.TimerHandle] = {}
        """Batches that have not stalled, with the timer that marks them as stalled."""

    async def verify(self, check: VerifyCheck) -> Claims:
        """Verify a user token of a tenant at a worker and return its claims. Raises the errors of `verified`."""
        return (await self.verified(check)).claims

    async def verified(self, check: VerifyCheck) -> Verified:
        """Verify a user token of a tenant at a worker; return its claims, and what a cache must know.

        Raises `InvalidToken`, `InvalidTenantToken`, `Forbidden`, `Throttled`, `Unavailable`, `Overloaded`,
        `DeadlineExceeded` or `InternalError`.
        """
        if not _may_be_token(check.tenant_token):
            raise InvalidTenantToken
        if not _may_be_token(check.token):
            raise InvalidToken
        waiting = _QueuedCheck(check, len(check.to_json()) + _COMMA_BYTES)
        if len(self._queue) >= MAX_QUEUED_CHECKS or self._queued_bytes + waiting.size > MAX_QUEUED_BYTES:
            raise Overloaded
        answer: asyncio.Future[CheckResult] = asyncio.get_running_loop().create_future()
        self._queue[answer] = waiting
        self._queued_bytes += waiting.size
        if self._tracing:
            self._tracing.joins_batch(answer)
        if len(self._queue) == 1:  # sent at the end of this event loop turn, so that its calls share a batch
            asyncio.get_running_loop().call_soon(self._send_ready)
        self._deadlines.add(answer)
        try:
            result, cause = await answer
        except TimeoutError:
            raise DeadlineExceeded from None
        finally:
            self._deadlines.remove(answer)
            self._dequeue(answer)  # a cancelled or expired check takes no place in a batch
        try:
            return Verified(result.unwrap(), result.caller)
        except AuthError as error:
            raise error from cause

    def _send_ready(self) -> None:
        while self._queue and (free := self._max_batches_in_flight - len(self._in_flight)):
            # Split the queue equally among the free batches. One large batch would return as one,
            # and worker and client would then only work in turns.
            batch = self._next_batch(min(math.ceil(len(self._queue) / free), MAX_BATCH))
            task = asyncio.create_task(self._send(batch))
            self._tasks.add(task)
            self._in_flight[task] = asyncio.get_running_loop().call_later(
                self._stalled_seconds, self._release_slot, task
            )
            task.add_done_callback(self._on_batch_done)

    def _next_batch(self, most: int) -> Batch:
        """Remove up to `most` checks from the queue that fit into one request. A single check
        always fits."""
        batch: Batch = {}
        room = AUTH_VERIFY.max_body_bytes - _FRAME_BYTES
        for answer, waiting in self._queue.items():
            room -= waiting.size
            if len(batch) == most or room < 0:
                break
            batch[answer] = waiting.check
        for answer in batch:
            self._dequeue(answer)
        return batch

    def _dequeue(self, answer: asyncio.Future[CheckResult]) -> None:
        if waiting := self._queue.pop(answer, None):
            self._queued_bytes -= waiting.size

    def _on_batch_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._release_slot(task)

    def _release_slot(self, task: asyncio.Task[None]) -> None:
        stalls = self._in_flight.pop(task, None)
        if stalls is not None:
            stalls.cancel()
            self._send_ready()

    async def _send(self, batch: Batch) -> None:
        cause = None
        try:
            with self._tracing.batch(batch) if self._tracing else contextlib.nullcontext():
                answers = await self._call_worker(batch)
        except AuthError as error:
            answers = tuple(VerifyAnswer.failed(error) for _ in batch)
            cause = error.__cause__
        except Exception:  # no caller of the batch has to wait for its deadline
            log.exception("batch of verifications failed", extra={"checks": len(batch)})
            answers = tuple(VerifyAnswer.failed(InternalError()) for _ in batch)
        for waiting, answer in zip(batch, answers, strict=True):
            if not waiting.done():
                waiting.set_result((answer, cause))

    async def _call_worker(self, batch: Batch) -> tuple[VerifyAnswer, ...]:
        request = AuthVerifyRequest(checks=tuple(batch.values()))
        reply = await self._rpc.call(AUTH_VERIFY, request, timeout_seconds=self._timeout_seconds)
        if len(reply.answers) != len(batch):
            raise InternalError
        return reply.answers


def _may_be_token(text: str) -> bool:
    """Return whether a worker could accept this text as a token.

    Other texts are refused here. JSON encodes an unprintable character as six bytes, so a few such
    texts could fill the batches of all callers.
    """
    return len(text) <= MAX_TOKEN_CHARS and text.isascii() and text.isprintable()
