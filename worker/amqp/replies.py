"""Sends replies, on one connection for each source of requests: the edges, and each service.

A reply is published to the address in its request. If that names a node that does not exist,
RabbitMQ closes the publishing connection (docs/decisions/0025). So replies never use the connection
that consumes, and sources do not share connections: a service with made-up addresses loses only its
own replies. A reply that cannot be sent at once is dropped, since waiting would block prefetch
slots that other requests need.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Sequence
from typing import Protocol, Self, cast

from aio_pika import DeliveryMode
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.channel import Channel
from pamqp.commands import Basic

from shared.amqp.connection import LAST_BACKOFF_SECONDS, Connection, ConnectionLost, lost_connections
from shared.amqp.topology import ERROR_TYPE, JSON_TYPE, REPLY_TYPE, service_of
from shared.contracts.errors import AuthError, InternalError
from shared.contracts.wire import WireModel
from worker.amqp.delivery import Delivery

log = logging.getLogger(__name__)

Outcome = WireModel | AuthError

#: How long the first replies to a source may wait for its connection to open, which takes some
#: milliseconds. Replies do not wait for a connection that was lost.
FIRST_OPENING_SECONDS = 2.0
#: Longest wait before reconnecting for a service whose replies end their connection again and again.
#: Each attempt is a socket, some processes and a crash report at the broker.
LAST_BACKOFF_OF_SERVICES_SECONDS = 10.0
#: Half of RabbitMQ 4's limit (`max_message_size`), and more than any reply needs. RabbitMQ closes
#: the connection of a message beyond its limit.
MAX_REPLY_BYTES = 8 * 1024 * 1024
#: Reply bytes of one connection that may be written without waiting for its socket. A connection
#: that is not read then holds this much, and a reply for each prefetch slot.
MAX_UNAWAITED_BYTES = 64 * 1024
#: Services with a connection of their own; further ones share one connection. Each is a socket here
#: and a few processes at the broker. Only administrators add services, since they declare a
#: service's exchange.
MAX_SERVICES = 200


class ReplySender(Protocol):
    """The port for replies, which `Replies` implements."""

    async def ready(self) -> None:
        """Wait until replies to edges can be sent, or until FIRST_OPENING_SECONDS have passed."""

    async def send(self, request: Delivery, outcome: Outcome) -> None:
        """Send a reply, or drop it if it cannot be sent at once."""


class ReplyPublisher(Protocol):
    """Publishes the replies to one source, as `ReplyConnection` does; an async context manager."""

    async def ready(self) -> None:
        """Wait until the connection is open, or until FIRST_OPENING_SECONDS have passed."""

    async def publish(self, address: str, body: bytes, properties: Basic.Properties) -> None:
        """Publish a reply, or drop it if the connection is lost."""

    async def __aenter__(self) -> object: ...

    async def __aexit__(self, *exc_info: object) -> None: ...


class Replies:
    """Sends replies; an async context manager."""

    def __init__(
        self,
        urls: Sequence[str],
        name: str,
        *,
        connect: Callable[[Sequence[str], str, str | None], ReplyPublisher] | None = None,
    ) -> None:
        """`connect` creates the publisher for a source; tests pass a fake."""
        self._urls = urls
        self._name = name
        self._connect = connect or ReplyConnection
        self._connections: dict[str | None, ReplyPublisher] = {}

    async def __aenter__(self) -> Self:
        await self._open(None)  # for edges, opened now so that the first request does not wait for it
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(connection.__aexit__() for connection in self._connections.values()))

    async def ready(self) -> None:
        """Wait until replies to edges can be sent, or until FIRST_OPENING_SECONDS have passed."""
        await self._connections[None].ready()

    async def send(self, request: Delivery, outcome: Outcome) -> None:
        """Send a reply, or drop it if the connection of its source is lost.

        Without publisher confirms: a lost reply is not sent again.
        """
        body = _body(outcome)
        if len(body) > MAX_REPLY_BYTES:
            incident = uuid.uuid4().hex
            log.error("reply is too large", extra={"incident": incident, "bytes": len(body)})
            outcome = InternalError(incident=incident)
            body = _body(outcome)
        properties = Basic.Properties(
            content_type=JSON_TYPE,
            message_type=ERROR_TYPE if isinstance(outcome, AuthError) else REPLY_TYPE,
            correlation_id=request.correlation_id,
            delivery_mode=DeliveryMode.NOT_PERSISTENT,
        )
        service = service_of(request.exchange)
        connection = self._connections.get(service) or await self._open(service)
        await connection.publish(request.reply_to, body, properties)

    async def _open(self, service: str | None) -> ReplyPublisher:
        if len(self._connections) > MAX_SERVICES:
            service = ""  # the shared connection: no service has this name
            if service in self._connections:
                return self._connections[service]
        connection = self._connections[service] = self._connect(self._urls, self._name, service)
        await connection.__aenter__()
        return connection


class ReplyConnection:
    """The connection for replies to one service, or to edges (`service` is None); an async context manager."""

    def __init__(self, urls: Sequence[str], name: str, service: str | None) -> None:
        self._service = service
        self._channel: Channel | None = None
        self._connection = Connection(
            urls,
            name if service is None else f"{name} to {service}",
            self.set_up,
            self.lose_channel,
            # Only a service has its own backoff: edges are trusted, and one service of a shared
            # connection may end it for the others.
            last_backoff_seconds=LAST_BACKOFF_OF_SERVICES_SECONDS if service else LAST_BACKOFF_SECONDS,
        )
        self._opened = asyncio.Event()
        self._waits_until = asyncio.get_running_loop().time() + FIRST_OPENING_SECONDS
        self._dropped = 0
        self._unawaited_bytes = 0

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._connection.__aexit__(*exc_info)

    async def ready(self) -> None:
        """Wait until the connection is open, or until FIRST_OPENING_SECONDS have passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_OPENING_SECONDS):
                await self._opened.wait()

    async def publish(self, address: str, body: bytes, properties: Basic.Properties) -> None:
        """Publish a reply, or drop it if the connection is lost.

        To wait for the socket takes turns of the event loop, so only the reply after each
        MAX_UNAWAITED_BYTES waits. It keeps its prefetch slot while the broker does not read.
        """
        if self._channel is None:
            await self._first_opening()
        try:
            if self._channel is not None:
                wait = self._unawaited_bytes > MAX_UNAWAITED_BYTES
                self._unawaited_bytes = 0 if wait else self._unawaited_bytes + len(body)
                with lost_connections():
                    await self._channel.basic_publish(
                        body, routing_key=address, properties=properties, mandatory=False, wait=wait
                    )
                return
        except ConnectionLost:
            pass
        self._dropped += 1

    async def _first_opening(self) -> None:
        """Wait for the connection to open for the first time, until FIRST_OPENING_SECONDS have passed."""
        if asyncio.get_running_loop().time() < self._waits_until:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._waits_until):
                    await self._opened.wait()

    async def set_up(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        """Use a new connection to the broker. `Connection` calls this."""
        channel = await connection.channel(publisher_confirms=False)
        self._channel = cast("Channel", await channel.get_underlay_channel())  # its abstract class lacks `wait`
        if self._dropped:  # one line for all of them: there may be hundreds a second
            log.warning(
                "replies were dropped while their connection was lost, their callers hear nothing",
                extra={"caller": self._service, "replies": self._dropped},
            )
            self._dropped = 0
        self._opened.set()
        return [channel]

    def lose_channel(self) -> None:
        """Drop replies until the next `set_up`. `Connection` calls this after a loss."""
        self._channel = None
        self._opened.clear()
        self._waits_until = 0.0


def _body(outcome: Outcome) -> bytes:
    return (outcome.to_reply() if isinstance(outcome, AuthError) else outcome).to_json()
