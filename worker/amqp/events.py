"""Publishes revocation events to RabbitMQ in the background, and records each in the database when it is confirmed.

A subscriber's queue may refuse an event. RabbitMQ then reports a refusal, even if other queues took
the event. Each event has its own backoff (`worker.domain.retries`) and is retried on a newer
channel: RabbitMQ 3.10 may refuse all messages of a channel for a queue that lost its leader
(docs/decisions/0020).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import DeliveryError

from shared.amqp.connection import Connection, ConnectionLost, lost_connections
from shared.amqp.topology import EVENTS_EXCHANGE, declare_exchanges
from shared.contracts.errors import AuthError
from shared.contracts.events import SessionRevokedEvent
from worker.amqp.fair_queue import FairQueue
from worker.domain.ports import Clock, Sessions
from worker.domain.records import Revocation, Session
from worker.domain.retries import retry_delay

log = logging.getLogger(__name__)

#: CloudEvents AMQP binding 1.0.2, 3.2: an event in structured mode.
CLOUDEVENTS_TYPE = "application/cloudevents+json; charset=utf-8"
#: Concurrent publishes, shared by the tenants. Enough to keep the broker busy; more would only
#: queue in its memory.
MAX_PUBLISHING = 64
#: Events held in memory. Further ones wait in the database for the sweep, those of the tenant with
#: the most first.
MAX_PENDING = 10_000
PUBLISH_TIMEOUT_SECONDS = 10.0
#: A channel with refusals is replaced at the next retry once it is this old. At this age all
#: publishes on its predecessor have ended, so closing that loses nothing.
RENEW_SECONDS = PUBLISH_TIMEOUT_SECONDS


@dataclass(eq=False)
class _Channel:
    """A channel for publishing, with the tenants whose events were refused on it."""

    connection: AbstractConnection
    channel: AbstractChannel
    exchange: AbstractExchange
    opened_at: float
    refused: set[str] = field(default_factory=set)


class AmqpEvents:
    """Implements the port `Events`; an async context manager.

    An event that cannot be published now stays in the outbox of its session, and the sweep
    announces it again.
    """

    def __init__(
        self,
        urls: Sequence[str],
        name: str,
        source: str,
        sessions: Sessions,
        clock: Clock,
        *,
        declare: bool = True,
        on_published: Callable[[float], None] = lambda _: None,
        on_refused: Callable[[bool], None] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_published` is called for each event confirmed without a refusal, with the seconds since its revocation.

        `on_refused` is called for each refusal with whether the event is retried. `monotonic` is
        the clock for the age of channels.
        """
        self._on_published = on_published
        self._on_refused = on_refused
        self._source = source
        self._sessions = sessions
        self._clock = clock
        self._declare = declare
        self._monotonic = monotonic
        self._channel: _Channel | None = None
        self._retired: AbstractChannel | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._connection = Connection(urls, name, self._setup, self._forget_channels)
        self._queue: FairQueue[Session] = FairQueue(MAX_PENDING, MAX_PUBLISHING)
        self._pending: set[str] = set()
        self._publishers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._connection.__aexit__(*exc_info)
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    @property
    def in_flight(self) -> int:
        """How many events are waiting or being published."""
        return len(self._pending)

    def announce(self, session: Session) -> None:
        if session.id in self._pending:
            return
        self._pending.add(session.id)
        if (dropped := self._queue.put(session.tenant, session)) is not None:
            self._pending.discard(dropped.id)
        if len(self._publishers) < MAX_PUBLISHING:
            publisher = asyncio.create_task(self._publish_waiting())
            self._publishers.add(publisher)
            publisher.add_done_callback(self._publishers.discard)

    async def drain(self, grace_seconds: float) -> None:
        """Wait for the events in flight, for this long at most. The sweep publishes the others."""
        if self._publishers:
            await asyncio.wait(self._publishers, timeout=grace_seconds)

    async def _publish_waiting(self) -> None:
        while taken := self._queue.take():
            tenant, session = taken
            try:
                await self._announce(session)
            except Exception:  # one failure must not stop the events of other tenants
                log.exception("revocation is not announced, the sweep will do it", extra={"session": session.id})
            finally:
                self._queue.done(tenant)
                self._pending.discard(session.id)

    async def _announce(self, session: Session) -> None:
        if session.revocation is None:
            raise ValueError("the session is not revoked")
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT_SECONDS):
                if session.revocation.refusals:
                    await self._renew()
                if self._channel is not None:
                    await self._announce_on(self._channel, session, session.revocation)
        except (ConnectionLost, TimeoutError, AuthError) as error:
            log.warning(
                "revocation is not announced, the sweep will do it",
                extra={"session": session.id, "error": f"{type(error).__name__}: {error}"},
            )

    async def _announce_on(self, channel: _Channel, session: Session, revocation: Revocation) -> None:
        event = session.revoked_event(self._source)
        try:
            with lost_connections():
                await channel.exchange.publish(_message(event), event.data.routing_key, mandatory=False)
        except DeliveryError:
            await self._refused(channel, session, revocation.refusals + 1)
            return
        now = self._clock.now()
        if not revocation.refusals:  # after a refusal the delay was caused by the subscriber
            self._on_published((now - revocation.at).total_seconds())
        await self._sessions.announced(session, now)

    async def _refused(self, channel: _Channel, session: Session, refusals: int) -> None:
        is_first = session.tenant not in channel.refused
        channel.refused.add(session.tenant)
        now, delay = self._clock.now(), retry_delay(refusals)
        if not await self._sessions.refused(session, now, None if delay is None else now + delay):
            return  # another worker published it at the same time and recorded the refusal
        self._on_refused(delay is not None)
        fields = {"tenant": session.tenant, "session": session.id, "refusals": refusals}
        if delay is None:
            log.warning("a subscriber's queue refused a revocation too often, it is only listed now", extra=fields)
        elif is_first:  # a line for each event would let one tenant fill the log
            log.warning("a subscriber's queue refuses revocations, they are published again later", extra=fields)

    async def _renew(self) -> None:
        """Replace the channel if events were refused on it and it is older than RENEW_SECONDS.

        Publishes in flight continue on the old channel, so a tenant whose queue refuses all events
        delays no other.
        """
        old = self._channel
        if old is None or not old.refused or self._monotonic() - old.opened_at < RENEW_SECONDS:
            return
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._replace(old))
        # One replacement at a time, shielded: an event whose timeout expires must not leave a
        # channel half open.
        await asyncio.shield(self._renewal)

    async def _replace(self, old: _Channel) -> None:
        try:
            new = await self._open(old.connection)
            if self._channel is not old:  # the connection was lost meanwhile
                return
            self._use(new)
            closing, self._retired = self._retired, old.channel
            if closing is not None:
                with lost_connections():
                    await closing.close()
        except ConnectionLost as error:
            log.warning("refused events have no new channel", extra={"error": str(error)})

    async def _setup(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        channel = await self._open(connection)
        if self._declare:
            await declare_exchanges(channel.channel)
        self._use(channel)
        return []  # this class replaces its channels itself and handles their loss

    async def _open(self, connection: AbstractConnection) -> _Channel:
        with lost_connections():
            channel = await connection.channel(publisher_confirms=True)
            exchange = await channel.get_exchange(EVENTS_EXCHANGE, ensure=False)
        return _Channel(connection, channel, exchange, self._monotonic())

    def _use(self, channel: _Channel) -> None:
        """Publish on this channel from now on. If it is lost while in use, the connection is given up."""

        def closed(_: object, error: object = None) -> None:
            if self._channel is channel:
                self._connection.give_up(f"channel for events is closed: {error}")

        self._channel = channel
        channel.channel.close_callbacks.add(closed)
        if channel.channel.is_closed:
            closed(None)

    def _forget_channels(self) -> None:
        self._channel = self._retired = None


def _message(event: SessionRevokedEvent) -> Message:
    return Message(
        event.to_json(),
        content_type=CLOUDEVENTS_TYPE,
        type=event.type,
        message_id=event.id,
        timestamp=event.time,
        delivery_mode=DeliveryMode.PERSISTENT,
    )
