"""Replies to requests, on a connection of their own.

A reply goes to an address that came with the request. An address that only looks like one of direct reply-to makes
RabbitMQ end the connection it was published on. Were that the connection which consumes, one message could take every
worker of a lane down in turn, because it would be redelivered each time.
"""

import asyncio
from collections.abc import Sequence
from typing import Self

from aio_pika import DeliveryMode
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aiormq.abc import AbstractChannel as UnderlayChannel
from pamqp.commands import Basic

from shared.amqp.connection import Connection, ConnectionLost, lost_connections
from shared.amqp.topology import ERROR_TYPE, JSON_TYPE, REPLY_TYPE
from shared.contracts.errors import AuthError
from shared.contracts.wire import WireModel

Outcome = WireModel | AuthError

#: How long a reply waits for a connection that is just coming back. Callers wait longer than that.
RECONNECT_WAIT_SECONDS = 2.0


class Replies:
    """Sends replies; an async context manager."""

    def __init__(self, urls: Sequence[str], name: str) -> None:
        self._channel: UnderlayChannel | None = None
        self._connection = Connection(urls, name, self._setup)

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._connection.__aexit__(*exc_info)

    async def send(self, request: AbstractIncomingMessage, outcome: Outcome) -> None:
        """Answers a request. Not confirmed: a caller that is gone needs no answer. Raises `ConnectionLost`."""
        body = outcome.to_reply() if isinstance(outcome, AuthError) else outcome
        properties = Basic.Properties(
            content_type=JSON_TYPE,
            message_type=ERROR_TYPE if isinstance(outcome, AuthError) else REPLY_TYPE,
            correlation_id=request.correlation_id,
            delivery_mode=DeliveryMode.NOT_PERSISTENT,
        )
        with lost_connections():
            channel = await self._usable_channel()
            await channel.basic_publish(
                body.to_json(), routing_key=request.reply_to or "", properties=properties, mandatory=False
            )

    async def _usable_channel(self) -> UnderlayChannel:
        async with asyncio.timeout(RECONNECT_WAIT_SECONDS):
            await self._connection.connected.wait()
        if self._channel is None:
            raise ConnectionLost("no channel for replies")
        return self._channel

    async def _setup(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        channel = await connection.channel(publisher_confirms=False)
        self._channel = await channel.get_underlay_channel()
        return [channel]
