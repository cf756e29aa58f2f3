"""Verification that coalesces: calls made at the same time travel as one message and cost one query."""

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
from .rpc_client import DEFAULT_TIMEOUT_SECONDS, RpcClient
from .telemetry import Tracing

log = logging.getLogger(__name__)

#: One at the worker while the other is on its way, or made or answered here; more only make the batches smaller, and a
#: batch costs as much by itself as a dozen checks (docs/performance.md).
DEFAULT_MAX_BATCHES_IN_FLIGHT = 2
#: A batch that takes longer does not hold up the next one: its reply may be lost, and then it waits until its deadline.
#: Far longer than a batch usually takes; where all take longer, some more are in flight, but none is sent sooner.
STALLED_SECONDS = 0.5
#: Beyond some batches, the last caller would not be answered in time.
MAX_QUEUED_CHECKS = 4_096
#: The same number of checks with tokens of 4 KB each. Longer ones would take the caller's process too much memory.
MAX_QUEUED_BYTES = 32 * MAX_BATCH_BYTES
#: `{"checks":[` and `]}` around the checks of a batch. Each check takes a comma more.
_FRAME_BYTES = 13
_COMMA_BYTES = 1


@dataclass(frozen=True, slots=True)
class _QueuedCheck:
    """A check, and how many bytes it adds to a request."""

    check: VerifyCheck
    size: int


#: Checks in order of arrival, by the future that their caller awaits.
Batch = dict[asyncio.Future[VerifyAnswer], VerifyCheck]


class VerificationBatcher:
    """Answers each check with what the worker said of that very check.

    With fewer than `max_batches_in_flight` batches under way a call leaves in the same turn of the event loop, so a
    lone call waits for nothing; otherwise it leaves with the next batch, as soon as one is answered or has stalled.
    """

    def __init__(
        self,
        rpc: RpcClient,
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        max_batches_in_flight: int = DEFAULT_MAX_BATCHES_IN_FLIGHT,
        stalled_seconds: float = STALLED_SECONDS,
        tracing: Tracing | None = None,
    ) -> None:
        self._rpc = rpc
        self._timeout_seconds = timeout_seconds
        self._max_batches_in_flight = max_batches_in_flight
        self._stalled_seconds = stalled_seconds
        self._tracing = tracing
        self._queue: dict[asyncio.Future[VerifyAnswer], _QueuedCheck] = {}
        self._queued_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight: dict[asyncio.Task[None], asyncio.TimerHandle] = {}
        """Batches that have not stalled, with what notices when they do."""

    async def verify(self, check: VerifyCheck) -> Claims:
        """The claims of a live user token of this tenant, checked now.

        Raises `InvalidToken`, `InvalidTenantToken`, `Unavailable`, `Overloaded` or `DeadlineExceeded`.
        """
        if not _may_be_token(check.tenant_token):
            raise InvalidTenantToken
        if not _may_be_token(check.token):
            raise InvalidToken
        waiting = _QueuedCheck(check, len(check.to_json()) + _COMMA_BYTES)
        if len(self._queue) >= MAX_QUEUED_CHECKS or self._queued_bytes + waiting.size > MAX_QUEUED_BYTES:
            raise Overloaded
        answer: asyncio.Future[VerifyAnswer] = asyncio.get_running_loop().create_future()
        self._queue[answer] = waiting
        self._queued_bytes += waiting.size
        if self._tracing:
            self._tracing.joins_batch(answer)
        if len(self._queue) == 1:  # at the end of this turn: who calls in the same one comes along
            asyncio.get_running_loop().call_soon(self._send_ready)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return (await answer).unwrap()
        except TimeoutError:
            raise DeadlineExceeded from None
        finally:
            self._dequeue(answer)  # a caller that has given up takes no place in a batch

    def _send_ready(self) -> None:
        while self._queue and (free := self._max_batches_in_flight - len(self._in_flight)):
            # In equal parts. All in one would come back as one, and so on for ever: worker and caller would take turns.
            batch = self._next_batch(min(math.ceil(len(self._queue) / free), MAX_BATCH))
            task = asyncio.create_task(self._send(batch))
            self._tasks.add(task)
            self._in_flight[task] = asyncio.get_running_loop().call_later(
                self._stalled_seconds, self._release_slot, task
            )
            task.add_done_callback(self._on_batch_done)

    def _next_batch(self, most: int) -> Batch:
        """Take the first checks, as many as a worker accepts in one request. A single check always fits."""
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

    def _dequeue(self, answer: asyncio.Future[VerifyAnswer]) -> None:
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
        try:
            with self._tracing.batch(batch) if self._tracing else contextlib.nullcontext():
                answers = await self._call_worker(batch)
        except AuthError as error:
            answers = tuple(VerifyAnswer.failed(error) for _ in batch)
        except Exception:  # whatever it was, nobody of the batch has to wait for a deadline
            log.exception("batch of verifications failed", extra={"checks": len(batch)})
            answers = tuple(VerifyAnswer.failed(InternalError()) for _ in batch)
        for waiting, answer in zip(batch, answers, strict=True):
            if not waiting.done():
                waiting.set_result(answer)

    async def _call_worker(self, batch: Batch) -> tuple[VerifyAnswer, ...]:
        request = AuthVerifyRequest(checks=tuple(batch.values()))
        reply = await self._rpc.call(AUTH_VERIFY, request, timeout_seconds=self._timeout_seconds)
        if len(reply.answers) != len(batch):
            raise InternalError
        return reply.answers


def _may_be_token(text: str) -> bool:
    """Return whether a worker could accept it. Others are not worth a message, and JSON makes six bytes of a character
    that is not printable: few of them would fill the batches of everybody."""
    return len(text) <= MAX_TOKEN_CHARS and text.isascii() and text.isprintable()
