"""Replies to requests, on one connection for each source of requests.

A reply goes to an address that came with the request, and an address at a node that does not exist, made up or dead,
makes RabbitMQ end the connection that it is published on (docs/decisions/0025). So replies never go out on the
connection that consumes, and no source shares one with another: a service that makes addresses up ends the connection
of its own replies, and loses those. A reply that cannot be sent now is dropped, since waiting would hold a place that
other requests need.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Sequence
from typing import Self

from aio_pika import DeliveryMode
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aiormq.abc import AbstractChannel as UnderlayChannel
from pamqp.commands import Basic

from shared.amqp.connection import LAST_BACKOFF_SECONDS, Connection, ConnectionLost, lost_connections
from shared.amqp.topology import ERROR_TYPE, JSON_TYPE, REPLY_TYPE, service_of
from shared.contracts.errors import AuthError, InternalError
from shared.contracts.wire import WireModel

log = logging.getLogger(__name__)

Outcome = WireModel | AuthError

#: How long the first replies to a source may wait for its connection, which takes some milliseconds to open. Nothing
#: waits for one that was lost.
FIRST_OPENING_SECONDS = 2.0
#: Between attempts to reconnect to a service whose replies end their connection again and again: each is a socket, some
#: processes and a crash report at the broker.
LAST_BACKOFF_OF_SERVICES_SECONDS = 10.0
#: Half of what RabbitMQ 4 takes as a message (`max_message_size`), and more than any answer has: a larger one would end
#: the connection that it is sent on.
MAX_BODY_BYTES = 8 * 1024 * 1024
#: Services with a connection of their own; further ones share one. Administrators declare a service's exchange, so
#: nobody else can open connections, and each is a socket here and a few processes at the broker.
MAX_SERVICES = 200


class Replies:
    """Sends replies; an async context manager."""

    def __init__(
        self,
        urls: Sequence[str],
        name: str,
        *,
        connect: "Callable[[Sequence[str], str, str | None], ReplyConnection] | None" = None,
    ) -> None:
        """`connect` makes the connection to a source; tests give another one."""
        self._urls = urls
        self._name = name
        self._connect = connect or ReplyConnection
        self._connections: dict[str | None, ReplyConnection] = {}

    async def __aenter__(self) -> Self:
        await self._open(None)  # edges are always there, so their first request need not wait for it
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(connection.__aexit__() for connection in self._connections.values()))

    async def send(self, request: AbstractIncomingMessage, outcome: Outcome) -> None:
        """Answer a request, or drop the answer if the connection of its source is lost.

        Not confirmed: a caller that is gone needs no answer.
        """
        body = _body(outcome)
        if len(body) > MAX_BODY_BYTES:
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
        service = service_of(request.exchange or "")
        connection = self._connections.get(service) or await self._open(service)
        await connection.publish(request.reply_to or "", body, properties)

    async def _open(self, service: str | None) -> "ReplyConnection":
        if len(self._connections) > MAX_SERVICES:
            service = ""  # which no service is called
            if service in self._connections:
                return self._connections[service]
        connection = self._connections[service] = self._connect(self._urls, self._name, service)
        await connection.__aenter__()
        return connection


class ReplyConnection:
    """The connection for replies to one service, or to edges (`service` is None); an async context manager."""

    def __init__(self, urls: Sequence[str], name: str, service: str | None) -> None:
        self._service = service
        self._channel: UnderlayChannel | None = None
        self._connection = Connection(
            urls,
            name if service is None else f"{name} to {service}",
            self._setup,
            self._lose_channel,
            # Edges are trusted, and services that share a connection are not all to blame for its end.
            last_backoff_seconds=LAST_BACKOFF_OF_SERVICES_SECONDS if service else LAST_BACKOFF_SECONDS,
        )
        self._waits_until = asyncio.get_running_loop().time() + FIRST_OPENING_SECONDS
        self._dropped = 0

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._connection.__aexit__(*exc_info)

    async def publish(self, address: str, body: bytes, properties: Basic.Properties) -> None:
        """Publish a reply, or drop it."""
        if self._channel is None:
            await self._first_opening()
        try:
            if self._channel is not None:
                with lost_connections():
                    await self._channel.basic_publish(body, routing_key=address, properties=properties, mandatory=False)
                return
        except ConnectionLost:
            pass
        self._dropped += 1

    async def _first_opening(self) -> None:
        """Wait for the connection to open, unless it was lost or has not opened for too long."""
        if asyncio.get_running_loop().time() < self._waits_until:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._waits_until):
                    await self._connection.connected.wait()

    async def _setup(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        channel = await connection.channel(publisher_confirms=False)
        self._channel = await channel.get_underlay_channel()
        if self._dropped:  # told once for all of them: there may be hundreds a second
            log.warning(
                "replies were dropped while their connection was lost, their callers hear nothing",
                extra={"caller": self._service, "replies": self._dropped},
            )
            self._dropped = 0
        return [channel]

    def _lose_channel(self) -> None:
        self._channel = None
        self._waits_until = 0.0


def _body(outcome: Outcome) -> bytes:
    return (outcome.to_reply() if isinstance(outcome, AuthError) else outcome).to_json()
