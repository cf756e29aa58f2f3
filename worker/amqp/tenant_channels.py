"""Channels for publishing events, one per tenant, so that no tenant's events wait for those of another.

RabbitMQ routes a message in the process of its channel. A service may bind thousands of queues, or
exchanges with patterns that take seconds to match; all later messages of the channel wait meanwhile
(docs/decisions/0034). A channel on which a message was refused or not confirmed is closed: RabbitMQ
3.10 may refuse all messages for a queue that lost its leader as long as the channel lives
(docs/decisions/0020). A tenant gets its next channel after the broker has closed that one, so it
never keeps more than one channel busy.
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

#: A channel takes some 100 KB in the broker. If there are more tenants, the channel that was idle
#: longest is closed.
MAX_CHANNELS = 256
#: Time between two checks whether the broker has closed a channel. The library does not report it
#: after its own wait has timed out.
CLOSE_CHECK_SECONDS = 0.5

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
        """`on_lost` is called if the connection or the exchange is gone, and not for a refused message."""
        self._connection = connection
        self._on_lost = on_lost
        self._numbers = list(range(MAX_CHANNELS, 0, -1))
        self._of: dict[str, _Channel] = {}
        """Channels by tenant, the most recently used last."""
        self._is_closed = False
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def blocked(self) -> bool:
        """Whether the broker is in an alarm and accepts nothing from this connection."""
        transport = self._connection.transport
        return transport is not None and is_blocked(transport.connection)

    async def publish(self, tenant: str, message: Message, key: str) -> None:
        """Publish a message and wait for its confirm. Raises `DeliveryError` if it is refused, and `ConnectionLost`."""
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
            # A channel that is not open yet still waits for the previous one to close; the next message waits with it.
            channel.is_spoiled = channel.opening.done()
            raise
        finally:
            channel.in_flight -= 1
            self._close_if_done(channel)

    def close(self) -> None:
        """Give up all channels, because the connection is lost."""
        self._is_closed = True  # late errors of these channels must not end the next connection
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
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # its waiters may be cancelled
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
            while self._is_known(channel.number):  # noqa: ASYNC110 - the library reports no late close
                await asyncio.sleep(CLOSE_CHECK_SECONDS)
        if channel.number:
            self._numbers.append(channel.number)
        if self._of.get(channel.tenant) is channel:
            del self._of[channel.tenant]
        channel.closed.set()

    def _is_known(self, number: int) -> bool:
        """Return whether the library still counts this channel number as open at the broker."""
        transport = self._connection.transport
        return transport is not None and number in transport.connection.channels
