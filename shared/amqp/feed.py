"""A live feed of revocations on an exclusive queue, with probes that prove that revocations arrive.

The feed publishes a probe to its own exchange, which passes it on to `events`. The probe returns
through the same exchange, queue and connection as a revocation. When it returns, every event that
reached `events` before the probe was sent has been delivered. A cache on this feed is valid for a
limited time after that probe.

The probe has its own binding. With a binding shared with revocations, each feed would get the
probes of all others. RabbitMQ does not let other connections unbind an exclusive queue. So both
bindings exist or vanish together, with the queue or the exchange.
"""

import asyncio
import functools
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage
from aio_pika.exceptions import DeliveryError, PublishError
from pydantic import ValidationError

from ..contracts.events import SessionRevokedEvent, revocations_key
from .announcement import ALL_TENANTS, IgnoredMessages, NotAnnounced, read_event
from .clock import elapsed_seconds
from .connection import Connection, ConnectionLost, lost_connections
from .topology import EVENTS_EXCHANGE, RPC_EXCHANGE, declare_exchanges, subscriber_queue

log = logging.getLogger(__name__)

#: Time between the return of a probe and the next probe.
PROBE_SECONDS = 1.0
#: Round-trip time of a probe after which the feed counts as not alive.
GRACE_SECONDS = 2.0
#: Time after which an accepted probe counts as lost. The feed then subscribes again.
MISSING_SECONDS = 5.0

#: The AMQP `type` of a probe.
PROBE_TYPE = "probe"


@dataclass(slots=True)
class _Probe:
    id: str
    sent_at: float
    back: asyncio.Event = field(default_factory=asyncio.Event)


class RevocationFeed:
    """New revocations of one tenant or of all; an async context manager that never blocks.

    The feed calls `on_revoked` for each event, in order of arrival, and `on_interrupted` whenever
    events may have been missed. Neither callback may block. Delivery is at least once while the
    feed is uninterrupted.
    """

    def __init__(
        self,
        urls: Sequence[str],
        name: str,
        *,
        on_revoked: Callable[[SessionRevokedEvent], None],
        on_interrupted: Callable[[], None],
        subscriber: str,
        exchange: str = RPC_EXCHANGE,
        tenant: Callable[[], Awaitable[str]] | None = None,
        declare: bool = False,
        clock: Callable[[], float] = elapsed_seconds,
    ) -> None:
        """`tenant` returns the id of the tenant to subscribe to; it is called at each subscription.
        Without it the feed subscribes to all tenants.

        `subscriber` is the part of the queue's name that broker permissions can match. The feed
        publishes probes to `exchange`, which also takes the requests of this broker user.
        `declare=True` creates missing exchanges.
        """
        self._on_revoked = on_revoked
        self._on_interrupted = on_interrupted
        self._subscriber = subscriber
        self._exchange = exchange
        self._tenant = tenant
        self._declare = declare
        self._clock = clock
        self.proven_at = float("-inf")
        """Time on `clock`: events that reached the exchange before it were passed on, or
        `on_interrupted` was called since."""
        self._alive_until = float("-inf")
        self._proven = asyncio.Event()
        self._probe: _Probe | None = None
        self._probing: asyncio.Task[None] | None = None
        self._ignored = IgnoredMessages()
        self._connection = Connection(urls, name, self._subscribe, self._interrupt)

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._connection.__aexit__(*exc_info)

    @property
    def alive(self) -> bool:
        """Whether all events older than `PROBE_SECONDS` plus `GRACE_SECONDS` are known to have
        arrived."""
        return self._clock() < self._alive_until

    async def wait_alive(self, timeout_seconds: float) -> bool:
        """Wait up to `timeout_seconds` for the feed to be alive; return whether it is."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while not self.alive:
                    self._proven.clear()
                    await self._proven.wait()
        except TimeoutError:
            return False
        return True

    async def _subscribe(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        tenant = ALL_TENANTS if self._tenant is None else await self._tenant()
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        if self._declare:
            await declare_exchanges(channel)
        name = subscriber_queue(self._subscriber, uuid.uuid4().hex)
        queue = await channel.declare_queue(name, exclusive=True)
        exchange = await channel.get_exchange(EVENTS_EXCHANGE, ensure=False)
        for key in (revocations_key(tenant), name):
            await queue.bind(exchange, routing_key=key)
        await queue.consume(functools.partial(self._accept, tenant), no_ack=True)
        entrance = await channel.get_exchange(self._exchange, ensure=False)
        self._probing = asyncio.create_task(self._probe_until_missing(channel, entrance, name))
        return [channel]

    async def _probe_until_missing(self, channel: AbstractChannel, exchange: AbstractExchange, key: str) -> None:
        """Send probes until one is lost, then close the channel, so that the connection subscribes
        again."""
        try:
            with lost_connections():
                while True:
                    await self._send_probe(exchange, key)
                    await asyncio.sleep(PROBE_SECONDS)
        except ConnectionLost as error:
            log.warning("revocation feed is interrupted, subscribing anew", extra={"error": str(error)})
        try:
            with lost_connections():
                await channel.close()
        except ConnectionLost:
            pass  # already closed, or the connection is lost: `Connection` notices both

    async def _send_probe(self, exchange: AbstractExchange, key: str) -> None:
        probe = self._probe = _Probe(uuid.uuid4().hex, self._clock())
        message = Message(
            b"",
            type=PROBE_TYPE,
            message_id=probe.id,
            delivery_mode=DeliveryMode.NOT_PERSISTENT,
            expiration=MISSING_SECONDS,
        )
        try:
            # A broker in a memory alarm accepts the probe late. Until then the feed is not alive.
            await exchange.publish(message, key, mandatory=True)
        except PublishError:
            raise ConnectionLost("queue is not bound any more") from None
        except DeliveryError:
            return  # the broker refused the probe: the feed gets no proof, and tries again
        try:
            async with asyncio.timeout(MISSING_SECONDS):
                await probe.back.wait()
        except TimeoutError:
            raise ConnectionLost("probe did not come back") from None

    async def _accept(self, tenant: str, message: AbstractIncomingMessage) -> None:
        if message.type == PROBE_TYPE:
            self._accept_probe(message.message_id)
            return
        try:
            event = read_event(message, tenant)
        except NotAnnounced:
            self._ignored.add(message)
            return
        except ValidationError as error:
            # Perhaps a newer type of event. It may revoke any session.
            log.warning("event cannot be parsed, feed counts as interrupted", extra={"problems": error.error_count()})
            self._on_interrupted()
            return
        try:
            self._on_revoked(event)
        except Exception:  # an event that was not handled counts as missed
            log.exception("handling of an event failed, feed counts as interrupted", extra={"event_id": event.id})
            self._on_interrupted()

    def _accept_probe(self, probe_id: str | None) -> None:
        if self._probe is not None and probe_id == self._probe.id:
            self.proven_at = self._probe.sent_at
            self._alive_until = self._probe.sent_at + PROBE_SECONDS + GRACE_SECONDS
            self._probe.back.set()
            self._proven.set()

    def _interrupt(self) -> None:
        self._alive_until = float("-inf")
        self._probe = None
        if self._probing:
            self._probing.cancel()
        self._on_interrupted()
