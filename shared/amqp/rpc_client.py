"""RPC calls to workers over RabbitMQ. Every call ends with a reply or an error within its
timeout."""

import asyncio
import logging
import math
import time
import uuid
from collections.abc import Sequence
from typing import Self

from aio_pika import DeliveryMode
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import DeliveryError, PublishError
from aiormq.abc import AbstractChannel as UnderlayChannel, DeliveredMessage
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
from ..contracts.operation import Operation, ReplyT, RequestT
from .connection import Connection, ConnectionLost, lost_connections
from .pending_replies import PendingReplies
from .recent_nacks import RecentNacks
from .rpc_port import DEFAULT_TIMEOUT_SECONDS
from .telemetry import Tracing, trace_headers
from .topology import (
    DEADLINE_HEADER,
    DIRECT_REPLY_TO,
    ERROR_TYPE,
    JSON_TYPE,
    REQUEST_ID_HEADER,
    RPC_EXCHANGE,
    declare_exchanges,
)

log = logging.getLogger(__name__)

#: Time that a starting process waits for the broker. It starts without a broker, too.
CONNECT_WAIT_SECONDS = 2.0


class RpcClient:
    """Sends requests and awaits their replies over direct reply-to; an async context manager.

    A call raises:

    - `Unavailable`, at once, if there is no broker or no worker, or if the connection is lost or
      blocked by a broker alarm, also while the call waits. Its `__cause__` says why there is no
      connection;
    - `Overloaded`, at once, if the queue of the lane is full;
    - `DeadlineExceeded` after its timeout, also if the last worker disappears meanwhile. The retry
      time is another timeout: by then all requests that wait in the queue now have expired.

    Workers do not start a request past its deadline.
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
        """`exchange` takes the requests: `rpc`, or an exchange that an administrator bound to `rpc`
        for some operations.

        `declare=False` if an administrator declares the exchanges and this broker user may not.
        """
        self._exchange_name = exchange
        self._declare = declare
        self._tracing = tracing
        self._channel: UnderlayChannel | None = None
        self._pending = PendingReplies()
        self._nacks = RecentNacks()
        self._connection = Connection(urls, name, self._setup, self._lose_channel)

    @property
    def connected(self) -> asyncio.Event:
        """Event that is set while this client is connected to a broker."""
        return self._connection.connected

    @property
    def blocked(self) -> bool:
        """Whether the broker is in an alarm and accepts no requests."""
        return self._pending.blocked

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._connection.__aexit__(*exc_info)

    async def wait_connected(self, timeout_seconds: float = CONNECT_WAIT_SECONDS) -> bool:
        """Wait up to `timeout_seconds` for a connection; return whether there is one."""
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
        """Send a request and return its reply.

        Raises the `AuthError` of the worker's error reply, or one of the three errors above.
        `message_id` is the idempotency key: a request that is sent again with the same id is done
        once and returns its first result. Another request needs another id. Without it, every call
        has a new id.
        """
        if self._channel is None or self._pending.blocked:
            raise Unavailable from self._connection.error
        if self._nacks.is_recent(operation.name):
            raise Overloaded
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
                answer = self._pending.add(call_id, deadline)
                await self._publish(self._channel, request.to_json(), properties, operation.name)
                self._nacks.record_ack(operation.name)
                reply = await answer
                if reply is None:
                    raise Unavailable from self._connection.error
        except DeliveryError:  # nacked
            self._nacks.record_nack(operation.name)
            if self._nacks.is_stuck(operation.name):
                self._connection.drop(f"{operation.name} is refused for too long")
            raise Overloaded from None
        except TimeoutError:
            if self._pending.is_abandoned(call_id):
                raise Unavailable from self._connection.error
            raise DeadlineExceeded(retry_after_seconds=math.ceil(timeout_seconds)) from None
        finally:
            self._pending.remove(call_id)
        return _read_reply(operation, reply)

    async def _setup(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        # The reply consumer (no acknowledgements) and the requests must share one channel
        # (RabbitMQ, "Direct Reply-to"). Publisher confirms distinguish "no worker" and "queue full"
        # from a slow reply.
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        if self._declare:
            await declare_exchanges(channel)
        # aiormq directly: building aio-pika's messages would double the cost of publishing and of a reply.
        underlay = await channel.get_underlay_channel()
        await underlay.basic_consume(DIRECT_REPLY_TO, self._on_reply, no_ack=True)
        self._channel = underlay
        self._pending.begin(underlay)
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
        except PublishError:  # returned: no queue is bound, so the lane has no worker
            raise Unavailable from None
        except ConnectionLost as error:
            raise Unavailable from self._connection.error or error

    async def _on_reply(self, message: DeliveredMessage) -> None:
        self._pending.answer(message.header.properties.correlation_id or "", message)

    def _lose_channel(self) -> None:
        self._channel = None
        self._nacks.clear()
        self._pending.end()


def _read_reply(operation: Operation[RequestT, ReplyT], message: DeliveredMessage) -> ReplyT:
    try:
        if message.header.properties.message_type == ERROR_TYPE:
            raise from_reply(ErrorReply.model_validate_json(message.body))
        return operation.reply.model_validate_json(message.body)
    except ValidationError as error:
        log.error("reply cannot be parsed", extra={"operation": operation.name, "problems": error.error_count()})  # noqa: TRY400 - the traceback says nothing more
        raise InternalError from None
