"""Takes requests off the broker: decode, dispatch, reply, then acknowledge. The same for every operation.

Whatever a message is, it is settled once: answered if it can be, acknowledged always, requeued never. A request that
a lost connection brings back is either past its deadline, or safe to do again under its message id.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from pydantic import ValidationError

from shared.amqp.connection import ConnectionLost, lost_connections
from shared.amqp.topology import (
    DEADLINE_HEADER,
    ERROR_TYPE,
    JSON_TYPE,
    REPLY_ADDRESS_PREFIX,
    REPLY_TYPE,
    REQUEST_ID_HEADER,
    LaneQueue,
    declare_exchanges,
)
from shared.contracts import OPERATIONS
from shared.contracts.errors import AuthError, BadRequest, InternalError, InvalidRequest
from shared.contracts.operation import Operation
from shared.contracts.wire import MAX_REQUEST_ID_CHARS, WireModel
from shared.logging import request_id
from worker.operations import Handler
from worker.ports import Call, Ports

log = logging.getLogger(__name__)


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
        *,
        declare: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`declare=False` when an administrator declares exchanges and queues and this user may not."""
        self._consumptions = consumptions
        self._handlers = handlers
        self._ports = ports
        self._declare = declare
        self._clock = clock
        self._consuming: list[tuple[AbstractQueue, str]] = []
        self._under_way: set[asyncio.Task[None]] = set()

    async def setup(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        """Declares the queues and consumes them, each on a channel of its own, so that each has its own prefetch."""
        self._consuming = []
        channels = []
        for consumption in self._consumptions:
            # Replies go out on this channel too, without confirms: a caller that is gone needs no answer.
            channel = await connection.channel(publisher_confirms=False)
            await channel.set_qos(prefetch_count=consumption.prefetch)
            if self._declare:
                await declare_exchanges(channel)
                queue = await consumption.queue.declare(channel)
            else:
                queue = await channel.get_queue(consumption.queue.name, ensure=False)
            self._consuming.append((queue, await queue.consume(self._accept)))
            channels.append(channel)
        return channels

    async def drain(self, grace_seconds: float) -> bool:
        """Takes no more requests and finishes those at hand; whether all were finished in time."""
        for queue, tag in self._consuming:
            try:
                with lost_connections():
                    await queue.cancel(tag, timeout=1)
            except ConnectionLost:
                continue  # and the consumer with it
        await asyncio.sleep(0.01)  # what was delivered before the cancellation is a few turns of the loop away
        if self._under_way:
            log.info("finishing requests at hand", extra={"requests": len(self._under_way)})
            await asyncio.wait(self._under_way, timeout=grace_seconds)
        return not self._under_way

    async def _accept(self, message: AbstractIncomingMessage) -> None:
        # A task of our own: those of the channel are cancelled with it, and an operation is better finished.
        task = asyncio.create_task(self._settle(message))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _settle(self, message: AbstractIncomingMessage) -> None:
        request_id.set(_text(message.headers.get(REQUEST_ID_HEADER)))
        started = time.perf_counter()
        told: dict[str, object] = {}
        outcome = await self._answer(message, told)
        try:
            with lost_connections():
                if outcome is not None and _may_reply_to(message):
                    await _reply(message, outcome)
                await message.ack()
        except ConnectionLost as error:
            log.warning(
                "reply is lost with its connection; the caller knows, a redelivery is dropped or answered again",
                extra={"operation": message.routing_key, "error": str(error)},
            )
        log.info(
            "request",
            extra={
                "operation": message.routing_key if message.routing_key in OPERATIONS else "unknown",
                "code": _code(outcome),
                "duration_ms": round(1000 * (time.perf_counter() - started), 1),
                "redelivered": message.redelivered,
                **told,
            },
        )

    async def _answer(self, message: AbstractIncomingMessage, told: dict[str, object]) -> WireModel | AuthError | None:
        """The reply model, the error to reply, or None when nobody waits for an answer any more.

        Fills in what the request tells the log about itself.
        """
        try:
            operation, handler = self._operation(message)
            if self._is_late(message):
                return None
            request = _decode(operation, message)
            told.update(request.log_fields())
            return await handler(request, Call(message.message_id or uuid.uuid4().hex), self._ports)
        except AuthError as error:
            return error
        except Exception:  # the consumer's last line: whatever it is, the caller gets an answer
            incident = uuid.uuid4().hex
            log.exception("internal error", extra={"incident": incident, "operation": message.routing_key})
            return InternalError(incident=incident)

    def _operation(self, message: AbstractIncomingMessage) -> tuple[Operation[Any, Any], Handler]:
        name = message.routing_key or ""
        if not _may_reply_to(message):
            raise BadRequest("reply_to must be an address of direct reply-to")
        if name not in self._handlers:
            raise BadRequest("unknown operation")
        if message.content_type != JSON_TYPE:
            raise BadRequest(f"content_type must be {JSON_TYPE}")
        return OPERATIONS[name], self._handlers[name]

    def _is_late(self, message: AbstractIncomingMessage) -> bool:
        deadline_ms = message.headers.get(DEADLINE_HEADER)
        if deadline_ms is None and message.redelivered:
            return True  # nobody said how long the answer is of use, and it has been a while
        if deadline_ms is None:
            return False
        if not isinstance(deadline_ms, int):
            raise BadRequest(f"header {DEADLINE_HEADER} must be an integer: milliseconds since the epoch")
        return self._clock() * 1000 > deadline_ms


def _may_reply_to(message: AbstractIncomingMessage) -> bool:
    # Workers may write to every queue; so an address that a caller makes up could name one that the caller may not.
    return (message.reply_to or "").startswith(REPLY_ADDRESS_PREFIX)


def _decode(operation: Operation[Any, Any], message: AbstractIncomingMessage) -> WireModel:
    try:
        request: WireModel = operation.request.model_validate_json(message.body)
    except ValidationError as error:
        if any(problem["type"] == "json_invalid" for problem in error.errors(include_input=False)):
            raise BadRequest("body must be JSON") from None
        raise InvalidRequest.from_validation(error) from None
    return request


async def _reply(message: AbstractIncomingMessage, outcome: WireModel | AuthError) -> None:
    body = outcome.to_reply() if isinstance(outcome, AuthError) else outcome
    await message.channel.basic_publish(
        body.to_json(),
        routing_key=message.reply_to or "",
        properties=Message(
            b"",
            content_type=JSON_TYPE,
            type=ERROR_TYPE if isinstance(outcome, AuthError) else REPLY_TYPE,
            correlation_id=message.correlation_id,
            delivery_mode=DeliveryMode.NOT_PERSISTENT,
        ).properties,
        mandatory=False,
    )


def _code(outcome: WireModel | AuthError | None) -> str:
    if outcome is None:
        return "late"
    return outcome.code if isinstance(outcome, AuthError) else "ok"


def _text(value: object) -> str | None:
    return value[:MAX_REQUEST_ID_CHARS] if isinstance(value, str) else None
