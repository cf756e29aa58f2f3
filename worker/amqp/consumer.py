"""Takes requests off the broker: decode, dispatch, reply, then acknowledge. The same for every operation.

Whatever a message is, it is settled once: answered if it can be, acknowledged always, requeued never. A request that
comes back because its worker was lost is dropped past its deadline, done again where that is safe under its message
id, and answered `unavailable` where it is not.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aiormq.exceptions import ChannelPreconditionFailed
from pydantic import ValidationError

from shared.amqp.connection import ConnectionLost, lost_connections
from shared.amqp.topology import (
    DEADLINE_HEADER,
    DEATH_HEADER,
    JSON_TYPE,
    REPLY_ADDRESS,
    REQUEST_ID_HEADER,
    RPC_EXCHANGE,
    LaneQueue,
    declare_exchanges,
    lane_queue,
    service_of,
)
from shared.contracts import OPERATIONS
from shared.contracts.auth_verify import AuthVerifyReply
from shared.contracts.errors import (
    AuthError,
    BadRequest,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    Unavailable,
)
from shared.contracts.operation import Lane, Operation
from shared.contracts.wire import REQUEST_ID, WireModel
from shared.process.logging import request_id, sampled
from shared.process.metrics import OTHER
from worker.amqp.replies import Outcome, Replies
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.tokens import acting_tenants
from worker.metrics import WorkerMetrics, code_of
from worker.operations import Handler

if TYPE_CHECKING:  # it is there only where traces are wanted
    from worker.tracing import WorkerTracing

log = logging.getLogger(__name__)

#: No answer is of use for longer. It bounds how often a message that kills its worker can come back.
MAX_DEADLINE_MS = 600_000
#: There are more of these than of all others together: a line for each would be its greatest cost.
VERIFY_OPERATIONS = frozenset(lane_queue(Lane.VERIFY).operations)


@dataclass(frozen=True, slots=True)
class Consumption:
    """A queue to take requests from, and how many of them to hold at a time."""

    queue: LaneQueue
    prefetch: int


class Consumer:
    """Serves its queues on whatever connection it is set up on; work under way outlives the connection it came by."""

    def __init__(
        self,
        consumptions: Sequence[Consumption],
        handlers: Mapping[str, Handler],
        ports: Ports,
        replies: Replies,
        *,
        declare: bool = True,
        clock: Callable[[], float] = time.time,
        metrics: WorkerMetrics | None = None,
        tracing: "WorkerTracing | None" = None,
        verify_sample: float = 1.0,
    ) -> None:
        """`declare=False` when an administrator declares the exchanges and this user may not. Queues are its own.

        `verify_sample` is the share of successful verifications that is logged.
        """
        self._consumptions = consumptions
        self._handlers = handlers
        self._ports = ports
        self._replies = replies
        self._declare = declare
        self._clock = clock
        self._metrics = metrics or WorkerMetrics()
        self._tracing = tracing
        self._verify_sample = verify_sample
        self._consuming: list[tuple[AbstractQueue, str]] = []
        self._in_flight: set[asyncio.Task[None]] = set()
        self._draining = False

    async def setup(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        """Declares the queues and consumes them, each on a channel of its own, so that each has its own prefetch."""
        self._consuming = []
        channels: list[AbstractChannel] = []
        if self._draining:  # the connection was lost and came back meanwhile
            return channels
        for consumption in self._consumptions:
            channel = await _open(connection, consumption)
            if self._declare:
                await declare_exchanges(channel)
            try:
                queue = await consumption.queue.declare(channel)
            except ChannelPreconditionFailed as error:  # and the channel is closed
                log.warning(
                    "queue is used as older workers declared it; the limits of this version apply to it once all"
                    " workers of its lane have been stopped at the same time",
                    extra={"queue": consumption.queue.name, "error": str(error)},
                )
                channel = await _open(connection, consumption)
                queue = await consumption.queue.adopt(channel)
            self._consuming.append((queue, await queue.consume(self._accept)))
            channels.append(channel)
        log.info("taking requests", extra={"queues": [each.queue.name for each in self._consumptions]})
        return channels

    @property
    def in_flight(self) -> int:
        """How many requests were taken and are not settled."""
        return len(self._in_flight)

    async def drain(self, grace_seconds: float) -> bool:
        """Takes no more requests and finishes those at hand; whether all were finished in time."""
        self._draining = True
        for queue, tag in self._consuming:
            try:
                with lost_connections():
                    await queue.cancel(tag, timeout=1)
            except ConnectionLost:
                continue  # and the consumer with it
        await asyncio.sleep(0.01)  # what was delivered before the cancellation is a few turns of the loop away
        if self._in_flight:
            log.info("finishing requests at hand", extra={"requests": len(self._in_flight)})
            await asyncio.wait(self._in_flight, timeout=grace_seconds)
        return not self._in_flight

    async def _accept(self, message: AbstractIncomingMessage) -> None:
        # A task of our own: those of the channel are cancelled with it, and an operation is better finished.
        task = asyncio.create_task(self._settle(message))
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    async def _settle(self, message: AbstractIncomingMessage) -> None:
        request_id.set(_request_id(message.headers.get(REQUEST_ID_HEADER)))
        acting: set[str] = set()
        acting_tenants.set(acting)
        started = time.perf_counter()
        self._metrics.taken(_name(message), self._waited_seconds(message))
        told: dict[str, object] = {}
        outcome = await self._traced_answer(message, told)
        await self._reply_and_acknowledge(message, outcome)
        seconds = time.perf_counter() - started
        self._metrics.answered(_name(message), outcome, seconds)
        share = {"sample": self._verify_sample} if _is_verified(message, outcome) else {}
        if not share or self._is_sampled(message, told):
            log.info(
                "request",
                extra={
                    "operation": _name(message),
                    "code": code_of(outcome),
                    "duration_ms": round(1000 * seconds, 1),
                    "redelivered": message.redelivered,
                    **_whose(acting),
                    **told,
                    **share,
                },
            )

    def _is_sampled(self, message: AbstractIncomingMessage, told: Mapping[str, object]) -> bool:
        """Whether this is to be found in the log; of a batch, whether any that travelled in it is."""
        ids = told.get("request_ids")
        names = ids if isinstance(ids, list) else [request_id.get() or message.message_id or ""]
        return any(sampled(name, self._verify_sample) for name in names)

    async def _reply_and_acknowledge(self, message: AbstractIncomingMessage, outcome: Outcome | None) -> None:
        told = {"operation": _name(message)}
        if outcome is not None and _may_reply_to(message):
            try:
                await self._replies.send(message, outcome)
            except Exception:  # whatever it is, the request is dealt with, and its place is needed
                log.exception("reply is lost, the caller waits in vain", extra=told)
        try:
            with lost_connections():
                await message.ack()
        except ConnectionLost as error:
            log.warning("request is not acknowledged and comes back", extra={**told, "error": str(error)})

    async def _traced_answer(self, message: AbstractIncomingMessage, told: dict[str, object]) -> Outcome | None:
        if self._tracing is None:
            return await self._answer(message, told)
        with self._tracing.processing(_name(message), message) as span:
            outcome = await self._answer(message, told)
            self._tracing.ended(span, code_of(outcome))
            return outcome

    async def _answer(self, message: AbstractIncomingMessage, told: dict[str, object]) -> Outcome | None:
        """The reply model, the error to reply, or None when nobody waits for an answer any more.

        Fills in what the request tells the log about itself.
        """
        try:
            operation, handler = self._operation(message)
            if self._is_late(message):
                return None
            if message.redelivered and not operation.repeatable:
                return Unavailable()  # another worker held it before; nobody knows how far it came
            request = _decode(operation, message)
            told.update(request.log_fields())
            call = Call(
                message.message_id or uuid.uuid4().hex,
                bool(message.redelivered),
                request_id.get(),
                service_of(message.exchange or ""),
                self._expires_at(message),
            )
            return await handler(request, call, self._ports)
        except DeadlineExceeded:  # while it waited for its turn
            return None
        except AuthError as error:
            return error
        except Exception:  # the consumer's last line: whatever it is, the caller gets an answer
            incident = uuid.uuid4().hex
            log.exception("internal error", extra={"incident": incident, "operation": _name(message)})
            return InternalError(incident=incident)

    def _operation(self, message: AbstractIncomingMessage) -> tuple[Operation[Any, Any], Handler]:
        name = message.routing_key or ""
        if not _is_from_caller(message):
            raise BadRequest("request must be published to `rpc` or to the exchange of a service")
        if not _may_reply_to(message):
            raise BadRequest("reply_to must be an address of direct reply-to")
        if name not in self._handlers:
            # The callers of a newer version are not wrong, and a newer worker of this lane can answer them.
            raise Unavailable("operation is unknown to this worker")
        if message.content_type != JSON_TYPE:
            raise BadRequest(f"content_type must be {JSON_TYPE}")
        return OPERATIONS[name], self._handlers[name]

    def _is_late(self, message: AbstractIncomingMessage) -> bool:
        deadline_ms = message.headers.get(DEADLINE_HEADER)
        if deadline_ms is None and message.redelivered:
            return True  # nobody said how long the answer is of use, and it has been a while
        if deadline_ms is None:
            return False
        now_ms = self._clock() * 1000
        if not isinstance(deadline_ms, int) or deadline_ms > now_ms + MAX_DEADLINE_MS:
            raise BadRequest(
                f"header {DEADLINE_HEADER} must be milliseconds since the epoch, at most {MAX_DEADLINE_MS} from now"
            )
        return now_ms > deadline_ms

    def _expires_at(self, message: AbstractIncomingMessage) -> float | None:
        """Its deadline in the time of the event loop, if it has one."""
        deadline_ms = message.headers.get(DEADLINE_HEADER)
        if not isinstance(deadline_ms, int):
            return None
        return asyncio.get_running_loop().time() + deadline_ms / 1000 - self._clock()

    def _waited_seconds(self, message: AbstractIncomingMessage) -> float | None:
        """Since it was sent: its deadline less the time that it was given. None when it does not tell both.

        One that comes again has been with another worker, and how long is nowhere to be seen.
        """
        deadline_ms, given_seconds = message.headers.get(DEADLINE_HEADER), message.expiration
        if message.redelivered or not isinstance(deadline_ms, int) or not isinstance(given_seconds, int | float):
            return None
        waited = self._clock() - deadline_ms / 1000 + given_seconds
        # Clocks differ, and callers may write what they like.
        return max(waited, 0.0) if waited <= MAX_DEADLINE_MS / 1000 else None


async def _open(connection: AbstractConnection, consumption: Consumption) -> AbstractChannel:
    channel = await connection.channel(publisher_confirms=False)
    await channel.set_qos(prefetch_count=consumption.prefetch)
    return channel


def _name(message: AbstractIncomingMessage) -> str:
    """The operation's name for the log; it came from outside, so others are not repeated."""
    return message.routing_key if message.routing_key in OPERATIONS else OTHER


def _whose(tenants: set[str]) -> dict[str, object]:
    """Who asked, for the log; in a batch that may be several, and with a bad token it is nobody."""
    return {"tenants": sorted(tenants)} if len(tenants) > 1 else {"tenant": next(iter(tenants), None)}


def _is_verified(message: AbstractIncomingMessage, outcome: Outcome | None) -> bool:
    """Whether it asked for what stands before every request of every product, and there is nothing to say about it."""
    if message.routing_key not in VERIFY_OPERATIONS or isinstance(outcome, AuthError | None):
        return False
    return not isinstance(outcome, AuthVerifyReply) or all(answer.error is None for answer in outcome.answers)


def _is_from_caller(message: AbstractIncomingMessage) -> bool:
    # A service can bind any number of exchanges of its own, under any name, into the one that it may publish to. What
    # it dead-letters from a queue of its own names that one all the same, but the broker has not checked its key.
    if DEATH_HEADER in message.headers:
        return False
    return message.exchange == RPC_EXCHANGE or service_of(message.exchange or "") is not None


def _may_reply_to(message: AbstractIncomingMessage) -> bool:
    # Workers may write to every queue; so an address that a caller makes up could name one that the caller may not.
    return _is_from_caller(message) and REPLY_ADDRESS.fullmatch(message.reply_to or "") is not None


def _decode(operation: Operation[Any, Any], message: AbstractIncomingMessage) -> WireModel:
    if len(message.body) > operation.max_body_bytes:
        raise BadRequest(f"body must not be larger than {operation.max_body_bytes} bytes")
    try:
        request: WireModel = operation.request.model_validate_json(message.body)
    except ValidationError as error:
        if any(problem["type"] == "json_invalid" for problem in error.errors(include_input=False)):
            raise BadRequest("body must be JSON") from None
        raise InvalidRequest.from_validation(error) from None
    return request


def _request_id(value: object) -> str | None:
    return value if isinstance(value, str) and REQUEST_ID.fullmatch(value) else None
