"""Consumes requests from the broker: decode, dispatch, reply, then acknowledge. The same for every operation.

Every message is acknowledged, never requeued, and gets a reply unless its caller no longer waits or
its reply address is not allowed. A request that is redelivered because its worker was lost is

- dropped if its deadline has passed,
- handled again if its operation is idempotent under its message id,
- answered with `unavailable` otherwise.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractQueue
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelPreconditionFailed
from pydantic import ValidationError

from shared.amqp.connection import ConnectionLost, lost_connections
from shared.amqp.topology import (
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
from shared.contracts.health import HealthReply
from shared.contracts.operation import Lane, Operation
from shared.contracts.wire import REQUEST_ID, WireModel
from shared.process.logging import request_id, sampled
from shared.process.metrics import OTHER
from worker.amqp.deadlines import Deadlines
from worker.amqp.delivery import Delivery
from worker.amqp.replies import Outcome, ReplySender
from worker.domain.call import Call
from worker.domain.deadline import request_deadline
from worker.domain.ports import Ports
from worker.domain.tokens import acting_tenants
from worker.metrics import WorkerMetrics, code_of
from worker.operations import Handler

if TYPE_CHECKING:  # installed only for tracing
    from worker.tracing import WorkerTracing

log = logging.getLogger(__name__)

#: More frequent than all other operations together. Logging a line for each would be their greatest
#: cost.
VERIFY_OPERATIONS = frozenset(lane_queue(Lane.VERIFY).operations)


@dataclass(frozen=True, slots=True)
class Consumption:
    """A queue to take requests from, and how many of them to hold at a time."""

    queue: LaneQueue
    prefetch: int


class Consumer:
    """Serves its queues on the current connection. Requests in flight are finished even if the connection is lost."""

    def __init__(
        self,
        consumptions: Sequence[Consumption],
        handlers: Mapping[str, Handler],
        ports: Ports,
        replies: ReplySender,
        *,
        declare: bool = True,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        metrics: WorkerMetrics | None = None,
        tracing: "WorkerTracing | None" = None,
        verify_sample: float = 1.0,
    ) -> None:
        """With `declare=False` the exchanges are not declared: an administrator does that. Queues always are.

        `verify_sample` is the share of successful verifications that is logged.
        """
        self._consumptions = consumptions
        self._handlers = handlers
        self._ports = ports
        self._replies = replies
        self._declare = declare
        self._deadlines = Deadlines(clock, monotonic)
        self._metrics = metrics or WorkerMetrics()
        self._tracing = tracing
        self._verify_sample = verify_sample
        self._consuming: list[tuple[AbstractQueue, str]] = []
        self._in_flight: set[asyncio.Task[None]] = set()
        self._draining = False

    async def setup(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        """Declare the queues and consume each on a channel of its own, so that each has its own prefetch."""
        self._consuming = []
        channels: list[AbstractChannel] = []
        if self._draining:  # the connection was lost and reconnected while draining
            return channels
        # After a loss of the broker this connection may be open first. Replies would be dropped, and
        # their callers would wait until their deadlines.
        await self._replies.ready()
        for consumption in self._consumptions:
            channel = await _open(connection, consumption)
            if self._declare:
                await declare_exchanges(channel)
            try:
                queue = await consumption.queue.declare(channel)
            except ChannelPreconditionFailed as error:  # the broker has closed the channel
                log.warning(
                    "queue has other limits than this worker's, and is used as it is; the new limits apply to it once"
                    " all workers of its lane have been stopped at the same time",
                    extra={"queue": consumption.queue.name, "error": str(error)},
                )
                channel = await _open(connection, consumption)
                queue = await consumption.queue.adopt(channel)
            underlay = await channel.get_underlay_channel()
            started = await underlay.basic_consume(queue.name, self._accept)
            self._consuming.append((queue, started.consumer_tag or ""))
            channels.append(channel)
        log.info("taking requests", extra={"queues": [each.queue.name for each in self._consumptions]})
        return channels

    @property
    def in_flight(self) -> int:
        """How many requests are consumed and not acknowledged yet."""
        return len(self._in_flight)

    async def drain(self, grace_seconds: float) -> bool:
        """Stop consuming and finish the requests in flight. Return whether all were finished in time."""
        self._draining = True
        for queue, tag in self._consuming:
            try:
                with lost_connections():
                    await queue.cancel(tag, timeout=1)
            except ConnectionLost:
                continue  # the consumer was lost with the connection
        await asyncio.sleep(0.01)  # messages delivered before the cancellation arrive within a few loop iterations
        if self._in_flight:
            log.info("finishing requests in flight", extra={"requests": len(self._in_flight)})
            await asyncio.wait(self._in_flight, timeout=grace_seconds)
        return not self._in_flight

    def _accept(self, message: DeliveredMessage) -> Coroutine[Any, Any, None]:
        # A separate task: the channel's tasks are cancelled with it, and an operation should be
        # finished. It starts now, before aiormq runs the coroutine that it needs.
        task = asyncio.create_task(self._handle(Delivery(message)))
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)
        return asyncio.sleep(0)

    async def _handle(self, message: Delivery) -> None:
        request_id.set(_request_id(message.headers.get(REQUEST_ID_HEADER)))
        acting: set[str] = set()
        acting_tenants.set(acting)
        started = time.perf_counter()
        self._metrics.taken(_name(message), self._deadlines.waited_seconds(message))
        fields: dict[str, object] = {}
        outcome = await self._traced_outcome(message, fields)
        await self._reply_and_acknowledge(message, outcome)
        seconds = time.perf_counter() - started
        self._metrics.answered(_name(message), outcome, seconds)
        share = {"sample": self._verify_sample} if _is_successful_verification(message, outcome) else {}
        # Load balancers cause several successful health checks a second.
        silent = isinstance(outcome, HealthReply) and outcome.database
        if not silent and (not share or self._is_sampled(message, fields)):
            log.info(
                "request",
                extra={
                    "operation": _name(message),
                    "code": code_of(outcome),
                    "duration_ms": round(1000 * seconds, 1),
                    "redelivered": message.redelivered,
                    **_tenant_field(acting),
                    **fields,
                    **share,
                },
            )

    def _is_sampled(self, message: Delivery, fields: Mapping[str, object]) -> bool:
        """Return whether the request is in the logged sample. A batch is if any request in it is."""
        ids = fields.get("request_ids")
        names = ids if isinstance(ids, list) else [request_id.get() or message.message_id or ""]
        return any(sampled(name, self._verify_sample) for name in names)

    async def _reply_and_acknowledge(self, message: Delivery, outcome: Outcome | None) -> None:
        fields = {"operation": _name(message)}
        if outcome is not None and _may_reply_to(message):
            try:
                await self._replies.send(message, outcome)
            except Exception:  # the request is handled, and must be acknowledged to free its prefetch slot
                log.exception("reply is lost, the caller waits in vain", extra=fields)
        try:
            with lost_connections():
                # A closing connection loses acknowledgements that are not written yet, so the last ones are waited for.
                await message.acknowledge(wait=self._draining)
        except ConnectionLost as error:
            log.warning("request is not acknowledged and comes back", extra={**fields, "error": str(error)})

    async def _traced_outcome(self, message: Delivery, fields: dict[str, object]) -> Outcome | None:
        if self._tracing is None:
            return await self._outcome(message, fields)
        with self._tracing.processing(_name(message), message) as span:
            outcome = await self._outcome(message, fields)
            self._tracing.ended(span, code_of(outcome))
            return outcome

    async def _outcome(self, message: Delivery, fields: dict[str, object]) -> Outcome | None:
        """Return the reply, the error to reply, or None if the deadline has passed.

        Adds the log fields of the request to `fields`.
        """
        try:
            operation, handler = self._operation(message)
            late_seconds = self._deadlines.late_seconds(message)
            if late_seconds > 0:
                return None if message.redelivered else self._deadlines.exceeded(message, late_seconds)
            deadline = self._deadlines.of(message)
            request_deadline.set(deadline)
            if message.redelivered and not operation.repeatable:
                return Unavailable()  # it is unknown how far the first worker came
            request = _decode(operation, message)
            fields.update(request.log_fields())
            call = Call(
                message.message_id or uuid.uuid4().hex,
                message.redelivered,
                request_id.get(),
                service_of(message.exchange),
                deadline.at if deadline else None,
            )
            return await handler(request, call, self._ports)
        except DeadlineExceeded:  # the deadline passed while the request waited for its turn
            return None
        except AuthError as error:
            return error
        except Exception:  # the caller gets a reply for any bug
            incident = uuid.uuid4().hex
            log.exception("internal error", extra={"incident": incident, "operation": _name(message)})
            return InternalError(incident=incident)

    def _operation(self, message: Delivery) -> tuple[Operation[Any, Any], Handler]:
        name = message.routing_key
        if not _is_from_caller(message):
            raise BadRequest("request must be published to `rpc` or to the exchange of a service")
        if not _may_reply_to(message):
            raise BadRequest("reply_to must be an address of direct reply-to")
        if name not in self._handlers:
            # Not `bad_request`: a newer caller may be right, and a newer worker of this lane can
            # handle the operation.
            raise Unavailable("operation is unknown to this worker")
        if message.content_type != JSON_TYPE:
            raise BadRequest(f"content_type must be {JSON_TYPE}")
        return OPERATIONS[name], self._handlers[name]


async def _open(connection: AbstractConnection, consumption: Consumption) -> AbstractChannel:
    channel = await connection.channel(publisher_confirms=False)
    await channel.set_qos(prefetch_count=consumption.prefetch)
    return channel


def _name(message: Delivery) -> str:
    """Return the operation's name for logs and metrics. Unknown names come from outside and are replaced by `OTHER`."""
    return message.routing_key if message.routing_key in OPERATIONS else OTHER


def _tenant_field(tenants: set[str]) -> dict[str, object]:
    """Return the log field for the authenticated tenants: several in a batch, none with an invalid token."""
    return {"tenants": sorted(tenants)} if len(tenants) > 1 else {"tenant": next(iter(tenants), None)}


def _is_successful_verification(message: Delivery, outcome: Outcome | None) -> bool:
    """Return whether the message is a verification, and every check in it succeeded."""
    if message.routing_key not in VERIFY_OPERATIONS or isinstance(outcome, AuthError | None):
        return False
    return not isinstance(outcome, AuthVerifyReply) or all(answer.error is None for answer in outcome.answers)


def _is_from_caller(message: Delivery) -> bool:
    # A service can bind its own exchanges to the one it may publish to; the message then names its
    # own exchange. A message that it dead-letters names the permitted exchange, but the broker has
    # not checked its routing key.
    if DEATH_HEADER in message.headers:
        return False
    return message.exchange == RPC_EXCHANGE or service_of(message.exchange) is not None


def _may_reply_to(message: Delivery) -> bool:
    # Workers may publish to every queue, so a made-up reply address could name a queue that the
    # caller may not use.
    return _is_from_caller(message) and REPLY_ADDRESS.fullmatch(message.reply_to) is not None


def _decode(operation: Operation[Any, Any], message: Delivery) -> WireModel:
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
