"""Revocation events, published to RabbitMQ in the background and crossed off in the database when confirmed."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Self

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import DeliveryError

from shared.amqp.connection import Connection, ConnectionLost, lost_connections
from shared.amqp.refusals import Refusals
from shared.amqp.topology import EVENTS_EXCHANGE, declare_exchanges
from shared.contracts.errors import AuthError
from shared.contracts.events import SessionRevokedEvent
from worker.ports import Clock, Sessions
from worker.records import Session

log = logging.getLogger(__name__)

#: CloudEvents AMQP binding 1.0.2, 3.2: an event in structured mode.
CLOUDEVENTS_TYPE = "application/cloudevents+json; charset=utf-8"
#: Enough to keep a confirming broker busy; more would only queue in its memory.
MAX_PUBLISHING = 64
#: What is beyond this waits in the database for the sweep.
MAX_PENDING = 10_000
PUBLISH_TIMEOUT_SECONDS = 10.0


class AmqpEvents:
    """Implements `worker.ports.Events`; an async context manager.

    What cannot be published now stays in the outbox of its session, and the sweep announces it again.
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
        refusals: Refusals | None = None,
    ) -> None:
        """`on_published` hears, of each event that the broker has confirmed, how many seconds ago it was caused.

        Tests give their `refusals`.
        """
        self._on_published = on_published
        self._source = source
        self._sessions = sessions
        self._clock = clock
        self._declare = declare
        self._exchange: AbstractExchange | None = None
        self._refusals = refusals or Refusals()
        self._connection = Connection(urls, name, self._setup, self._forget_exchange)
        self._publishing = asyncio.Semaphore(MAX_PUBLISHING)
        self._pending: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._connection.__aexit__(*exc_info)

    @property
    def under_way(self) -> int:
        """How many events are on their way to the broker."""
        return len(self._pending)

    def announce(self, session: Session) -> None:
        if session.id in self._pending or len(self._pending) >= MAX_PENDING:
            return
        task = self._pending[session.id] = asyncio.create_task(self._announce(session))
        task.add_done_callback(lambda _: self._pending.pop(session.id))

    async def drain(self, grace_seconds: float) -> None:
        """Waits for what is being published; what is not by then is the sweep's."""
        if self._pending:
            await asyncio.wait(self._pending.values(), timeout=grace_seconds)

    async def _announce(self, session: Session) -> None:
        if session.revocation is None:
            raise ValueError("the session is not revoked")
        event = session.revoked_event(self._source)
        try:
            async with self._publishing, asyncio.timeout(PUBLISH_TIMEOUT_SECONDS):
                if self._exchange is None:
                    return
                await self._publish(self._exchange, event)
                now = self._clock.now()
                self._on_published((now - session.revocation.at).total_seconds())
                await self._sessions.announced(session, now)
        except (ConnectionLost, DeliveryError, TimeoutError, AuthError) as error:
            log.warning(
                "revocation is not announced, the sweep will do it",
                extra={"session": session.id, "error": f"{type(error).__name__}: {error}"},
            )

    async def _publish(self, exchange: AbstractExchange, event: SessionRevokedEvent) -> None:
        """Raises `ConnectionLost`, or `DeliveryError` when a queue of a subscriber did not take it."""
        key = event.data.routing_key
        try:
            with lost_connections():
                await exchange.publish(_message(event), key, mandatory=False)
        except DeliveryError:
            self._refusals.remember(key)
            if self._refusals.stuck(key):  # an operator may have set a limit
                self._connection.give_up("events are refused for too long")
            raise
        self._refusals.taken(key)

    async def _setup(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        channel = await connection.channel(publisher_confirms=True)
        if self._declare:
            await declare_exchanges(channel)
        self._exchange = await channel.get_exchange(EVENTS_EXCHANGE, ensure=False)
        return [channel]

    def _forget_exchange(self) -> None:
        self._exchange = None
        self._refusals.forget()


def _message(event: SessionRevokedEvent) -> Message:
    return Message(
        event.to_json(),
        content_type=CLOUDEVENTS_TYPE,
        type=event.type,
        message_id=event.id,
        timestamp=event.time,
        delivery_mode=DeliveryMode.PERSISTENT,
    )
