"""Calls to workers over RabbitMQ: a request out, its reply or its error back, and never a call that hangs."""

import asyncio
import logging
import math
import time
import uuid
from collections.abc import Sequence
from typing import Self, TypeVar

from aio_pika import DeliveryMode
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import DeliveryError, PublishError
from aiormq.abc import AbstractChannel as UnderlayChannel
from pamqp.commands import Basic
from pydantic import ValidationError

from ..contracts.errors import (
    DeadlineExceeded,
    ErrorReply,
    InternalError,
    Overloaded,
    Unavailable,
    from_reply,
)
from ..contracts.operation import Lane, Operation
from ..contracts.wire import WireModel
from .connection import Connection, ConnectionLost, lost_connections
from .pace import Pace
from .refusals import Refusals
from .telemetry import Tracing, trace_headers
from .topology import (
    DEADLINE_HEADER,
    DIRECT_REPLY_TO,
    ERROR_TYPE,
    JSON_TYPE,
    REQUEST_ID_HEADER,
    RPC_EXCHANGE,
    declare_exchanges,
    health_queue,
    lane_queue,
)
from .waiting import WaitingCalls

log = logging.getLogger(__name__)

#: Longer than any operation takes on a service that is not overloaded; short enough for a person to wait.
DEFAULT_TIMEOUT_SECONDS = 5.0
#: Who starts together with the broker finds it within this; without a broker one starts all the same.
CONNECT_WAIT_SECONDS = 2.0

RequestT = TypeVar("RequestT", bound=WireModel)
ReplyT = TypeVar("ReplyT", bound=WireModel)


class RpcClient:
    """Sends requests and awaits their replies over direct reply-to; an async context manager.

    A call fails at once with `Unavailable` when there is no broker or no worker, when the broker takes no requests, or
    when the broker goes or stops taking requests while it waits; with `Overloaded` when the lane's queue is full; with
    `DeadlineExceeded` when its time is up, which it waits for when the last worker goes meanwhile. The worker does not
    begin what is past its deadline.

    The last two say when what is in that queue will be gone: a full one by how long calls took of late, and one that
    was too slow after another deadline, since all that waits in it now has been given up by then.
    """

    def __init__(
        self,
        urls: Sequence[str],
        name: str,
        *,
        exchange: str = RPC_EXCHANGE,
        declare: bool = True,
        tracing: Tracing | None = None,
    ) -> None:
        """`exchange` takes the requests: `rpc`, or one that an administrator bound to it for some operations only.

        `declare=False` when an administrator declares the exchanges and this user may not.
        """
        self._exchange_name = exchange
        self._declare = declare
        self._tracing = tracing
        self._channel: UnderlayChannel | None = None
        self._waiting = WaitingCalls()
        self._refusals = Refusals()
        #: By operation, one for each queue.
        self._paces = {
            name: pace
            for lane in Lane
            for queue in (lane_queue(lane), health_queue(lane))
            for pace in [Pace()]
            for name in queue.operations
        }
        self._connection = Connection(urls, name, self._setup, self._lose_channel)

    @property
    def connected(self) -> asyncio.Event:
        """Set while there is a broker."""
        return self._connection.connected

    @property
    def blocked(self) -> bool:
        """Whether that broker is in an alarm and takes no requests."""
        return self._waiting.blocked

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._connection.__aexit__(*exc_info)

    async def wait_connected(self, timeout_seconds: float = CONNECT_WAIT_SECONDS) -> bool:
        """Whether calls can be sent, now or within this time."""
        try:
            await asyncio.wait_for(self.connected.wait(), timeout_seconds)
        except TimeoutError:
            return False
        return True

    async def call(
        self,
        operation: Operation[RequestT, ReplyT],
        request: RequestT,
        *,
        request_id: str | None = None,
        message_id: str | None = None,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> ReplyT:
        """The reply to a request. Raises the `AuthError` that the worker answered, or one of the three above.

        `message_id` names the request itself: sent again under the same one it is done once, and answers as it did the
        first time. Another request needs another.
        """
        if self._channel is None or self._waiting.blocked:
            raise Unavailable
        pace = self._paces[operation.name]
        if self._refusals.recent(operation.name):
            raise Overloaded(retry_after_seconds=pace.retry_after_seconds(timeout_seconds))
        call_id = uuid.uuid4().hex
        properties = Basic.Properties(
            content_type=JSON_TYPE,
            message_type=operation.name,
            correlation_id=call_id,
            message_id=message_id or call_id,
            reply_to=DIRECT_REPLY_TO,
            delivery_mode=DeliveryMode.NOT_PERSISTENT,
            expiration=str(int(timeout_seconds * 1000)),
            headers={
                DEADLINE_HEADER: int((time.time() + timeout_seconds) * 1000),
                **({REQUEST_ID_HEADER: request_id} if request_id else {}),
                **trace_headers(self._tracing),
            },
        )
        try:
            async with asyncio.timeout(timeout_seconds) as deadline:
                answer = self._waiting.add(call_id, deadline)
                await self._publish(self._channel, request.to_json(), properties, operation.name)
                self._refusals.taken(operation.name)
                with pace.way():
                    reply = await answer
                    if reply is None:
                        raise Unavailable
        except DeliveryError:  # nacked
            self._refusals.remember(operation.name)
            if self._refusals.stuck(operation.name):
                self._connection.give_up(f"{operation.name} is refused for too long")
            raise Overloaded(retry_after_seconds=pace.retry_after_seconds(timeout_seconds)) from None
        except TimeoutError:
            if self._waiting.given_up(call_id):
                raise Unavailable from None
            raise DeadlineExceeded(retry_after_seconds=math.ceil(timeout_seconds)) from None
        finally:
            self._waiting.remove(call_id)
        return _read_reply(operation, reply)

    async def _setup(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        # The reply consumer, without acknowledgements, and the requests must share one channel (RabbitMQ, "Direct
        # Reply-to"). Confirms tell "no worker" and "queue full" apart from a slow answer.
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        if self._declare:
            await declare_exchanges(channel)
        replies = await channel.get_queue(DIRECT_REPLY_TO, ensure=False)
        await replies.consume(self._on_reply, no_ack=True)
        # aiormq's, below aio-pika's: the properties of an `aio_pika.Message` cost as much again as publishing it.
        self._channel = await channel.get_underlay_channel()
        self._waiting.begin(self._channel)
        return [channel]

    async def _publish(
        self, channel: UnderlayChannel, body: bytes, properties: Basic.Properties, operation: str
    ) -> None:
        try:
            with lost_connections():
                await channel.basic_publish(
                    body,
                    exchange=self._exchange_name,
                    routing_key=operation,
                    properties=properties,
                    mandatory=True,
                )
        except PublishError:  # returned: no queue is bound, so no worker of the lane is there
            raise Unavailable from None
        except ConnectionLost:
            raise Unavailable from None

    async def _on_reply(self, message: AbstractIncomingMessage) -> None:
        self._waiting.answer(message.correlation_id or "", message)

    def _lose_channel(self) -> None:
        self._channel = None
        self._refusals.forget()
        self._waiting.end()


def _read_reply(operation: Operation[RequestT, ReplyT], message: AbstractIncomingMessage) -> ReplyT:
    try:
        if message.type == ERROR_TYPE:
            raise from_reply(ErrorReply.model_validate_json(message.body))
        return operation.reply.model_validate_json(message.body)
    except ValidationError as error:
        log.error("reply cannot be read", extra={"operation": operation.name, "problems": error.error_count()})  # noqa: TRY400 - the traceback says nothing more
        raise InternalError from None
