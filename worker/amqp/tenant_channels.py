"""Channels to publish on, one for each tenant, so that no tenant's events wait for those of another.

RabbitMQ finds the queues of a message in the process of the channel that it came by. A service may bind exchanges of
its own with patterns that take seconds to match, or thousands of queues, and all that is published on that channel
waits meanwhile (docs/decisions/0034). A channel on which something was refused or not confirmed is used no more:
RabbitMQ 3.10 may go on refusing messages for a queue that lost its leader for as long as the channel lives
(docs/decisions/0020). A tenant gets its next channel when the broker has closed that one, so it keeps one channel of
the broker's busy and no more.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange

from shared.amqp.connection import ConnectionLost, lost_connections
from shared.amqp.pending_replies import is_blocked
from shared.amqp.topology import EVENTS_EXCHANGE

#: Each takes some 100 KB of the broker. More tenants at a time take turns: the channel that was idle longest is closed.
MAX_CHANNELS = 256
#: Between two looks whether the broker has closed a channel, which the library tells nobody after it gave up waiting.
LOOK_SECONDS = 0.5

ResultT = TypeVar("ResultT")


@dataclass(eq=False)
class _Channel:
    """A tenant's channel: waiting to be opened, open, or spoiled and being closed."""

    tenant: str
    number: int = 0
    channel: AbstractChannel | None = None
    opening: "asyncio.Task[AbstractExchange]" = field(init=False)
    in_flight: int = 0
    is_spoiled: bool = False
    closed: asyncio.Event = field(default_factory=asyncio.Event)


class TenantChannels:
    """The channels of one connection."""

    def __init__(self, connection: AbstractConnection, on_lost: Callable[[str], None]) -> None:
        """`on_lost` is called when something else fails than a message: the connection, or the exchange is gone."""
        self._connection = connection
        self._on_lost = on_lost
        self._numbers = list(range(MAX_CHANNELS, 0, -1))
        self._of: dict[str, _Channel] = {}
        """The one that was used last is the last."""
        self._is_closed = False
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def blocked(self) -> bool:
        """Whether the broker is in an alarm and takes nothing from this connection."""
        transport = self._connection.transport
        return transport is not None and is_blocked(transport.connection)

    async def publish(self, tenant: str, message: Message, key: str) -> None:
        """Returns when it is confirmed. Raises `DeliveryError` if it was refused, and `ConnectionLost`."""
        channel = self._of.pop(tenant, None)
        if channel is None or channel.is_spoiled:
            channel = self._next(tenant, channel)
        self._of[tenant] = channel
        channel.in_flight += 1
        try:
            with lost_connections():
                exchange = await asyncio.shield(channel.opening)
                await exchange.publish(message, key, mandatory=False)
        except BaseException as error:
            if isinstance(error, ConnectionLost) and not self._is_closed:
                self._on_lost(f"channel for events is lost: {error}")
            # One that has not been opened yet waits for the end of the one before it, and so does the next message.
            channel.is_spoiled = channel.opening.done()
            raise
        finally:
            channel.in_flight -= 1
            self._close_if_done(channel)

    def close(self) -> None:
        """The connection is lost."""
        self._is_closed = True  # the next connection is not lost by what is told of this one
        for task in self._tasks:
            task.cancel()

    def _next(self, tenant: str, before: _Channel | None) -> _Channel:
        channel = _Channel(tenant)
        channel.opening = self._start(self._open(channel, before))
        return channel

    def _start(self, work: Coroutine[Any, Any, ResultT]) -> "asyncio.Task[ResultT]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may wait for it any more
        return task

    async def _open(self, channel: _Channel, before: _Channel | None) -> AbstractExchange:
        if before is not None:
            await before.closed.wait()
        while not self._numbers:
            await self._close_idle()
        channel.number = self._numbers.pop()
        channel.channel = await self._connection.channel(channel.number, publisher_confirms=True)
        return await channel.channel.get_exchange(EVENTS_EXCHANGE, ensure=False)

    async def _close_idle(self) -> None:
        idle = (each for each in self._of.values() if each.number and not each.in_flight and not each.is_spoiled)
        if (channel := next(idle, None)) is None:
            raise ConnectionLost("all channels for events are in use")
        channel.is_spoiled = True
        self._close_if_done(channel)
        await channel.closed.wait()

    def _close_if_done(self, channel: _Channel) -> None:
        if channel.is_spoiled and not channel.in_flight:
            self._start(self._close(channel))

    async def _close(self, channel: _Channel) -> None:
        if channel.channel is not None:
            with contextlib.suppress(ConnectionLost), lost_connections():
                await channel.channel.close()
            while self._is_known(channel.number):  # noqa: ASYNC110 - the library gave up, and tells nobody
                await asyncio.sleep(LOOK_SECONDS)
        if channel.number:
            self._numbers.append(channel.number)
        if self._of.get(channel.tenant) is channel:
            del self._of[channel.tenant]
        channel.closed.set()

    def _is_known(self, number: int) -> bool:
        """Whether the broker has a channel of this number, for all that the library knows."""
        transport = self._connection.transport
        return transport is not None and number in transport.connection.channels
