"""Revocations as they happen, on a queue of this process alone, with proof that they would arrive.

The proof is a probe: a message of this feed's own, from the exchange that its user may publish to by way of `events`,
that comes back through the same exchange, queue and link as a revocation. What reached `events` before the probe was
sent has then been delivered. So a cache on this feed may be used for as long as the last probe that came back says, and
no longer.

The probe has a binding of its own, since one shared with revocations would bring each feed the probes of all others.
RabbitMQ lets nobody else unbind an exclusive queue, so its bindings only go together: with the queue, or the exchange.
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

#: Between a probe that came back and the next.
PROBE_SECONDS = 1.0
#: What a probe may take, there and back, before the feed is no longer trusted.
GRACE_SECONDS = 2.0
#: A probe that the broker has taken and not brought back by then met no queue of ours: subscribe anew.
MISSING_SECONDS = 5.0

PROBE_TYPE = "probe"


@dataclass(slots=True)
class _Probe:
    id: str
    sent_at: float
    back: asyncio.Event = field(default_factory=asyncio.Event)


class RevocationFeed:
    """A tenant's revocations, or everyone's, from now on; an async context manager that never blocks its user.

    `on_revoked` is called for each event, in order of arrival; `on_interrupted` whenever some may have been missed.
    Neither may wait. Events come at least once while the feed is uninterrupted.
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
        """`tenant` finds out whose events to take, each time the feed subscribes; without it, it takes everyone's.

        `subscriber` is the part of the queue's name that the broker's permissions may go by. Probes are published to
        `exchange`, the one that also takes this user's requests. `declare=True` creates the exchanges if they are
        missing.
        """
        self._on_revoked = on_revoked
        self._on_interrupted = on_interrupted
        self._subscriber = subscriber
        self._exchange = exchange
        self._tenant = tenant
        self._declare = declare
        self._clock = clock
        self.proven_at = float("-inf")
        """On the clock: what reached the exchange before then has been passed on, or an interruption was told since."""
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
        """Whether what was announced `PROBE_SECONDS` and `GRACE_SECONDS` ago, and before, is known to have arrived."""
        return self._clock() < self._alive_until

    async def wait_alive(self, timeout_seconds: float) -> bool:
        """Whether the feed is alive, now or within this time."""
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
        """Sends one probe after another; closes the channel, and so subscribes anew, when one does not come back."""
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
            pass  # it was closed already, or it is past closing: the connection notices either

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
            # A broker in a memory alarm takes its time; meanwhile the feed is not trusted, and that is all.
            await exchange.publish(message, key, mandatory=True)
        except PublishError:
            raise ConnectionLost("queue is not bound any more") from None
        except DeliveryError:
            return  # refused: no proof, and no harm
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
            # Perhaps a newer kind of event. Whose session it ends cannot be known, so it may be anyone's.
            log.warning(
                "event cannot be read, trusting nothing from before it", extra={"problems": error.error_count()}
            )
            self._on_interrupted()
            return
        try:
            self._on_revoked(event)
        except Exception:  # it was not taken, so it is as good as missed
            log.exception("event was not dealt with, trusting nothing from before it", extra={"event_id": event.id})
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
