"""Publication of revocation events to RabbitMQ, in the background.

A confirmed event is removed from its session's outbox. RabbitMQ refuses an event if any subscriber's
queue refuses it, even if other queues took it. An event that is refused, or not confirmed in time, is
retried with a backoff of its own (`worker.domain.retries`). Each tenant has a channel of its own
(`worker.amqp.tenant_channels`).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Self

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import DeliveryError

from shared.amqp.connection import Connection, ConnectionLost
from shared.amqp.topology import declare_exchanges
from shared.contracts.errors import AuthError
from shared.contracts.events import SessionRevokedEvent
from worker.amqp.fair_queue import FairQueue
from worker.amqp.tenant_channels import TenantChannels
from worker.domain.ports import Clock, Sessions
from worker.domain.records import Revocation, StoredSession
from worker.domain.retries import retry_delay

log = logging.getLogger(__name__)

#: CloudEvents AMQP binding 1.0.2, 3.2: an event in structured mode.
CLOUDEVENTS_TYPE = "application/cloudevents+json; charset=utf-8"
#: Events in flight to the broker, of all tenants. More would only queue in the broker's memory.
MAX_PUBLISHING = 64
#: Queued events. If there are more, the tenant with the most loses one, which the sweep finds later.
MAX_PENDING = 10_000
PUBLISH_TIMEOUT_SECONDS = 10.0
#: Time between two log lines about refusals of one tenant, which may be many.
LOG_PAUSE_SECONDS = 60.0


class AmqpEvents:
    """Implements the port `Events`; an async context manager.

    An event that cannot be published now stays in the outbox of its session, and the sweep announces it again.
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
    ) -> None:
        """`on_published` gets, for each event confirmed without a refusal, the seconds since its cause.

        `on_refused` gets, for each refusal, whether the event is retried.
        """
        self._on_published = on_published
        self._on_refused = on_refused
        self._source = source
        self._sessions = sessions
        self._clock = clock
        self._declare = declare
        self._channels: TenantChannels | None = None
        self._logged_at: dict[str, float] = {}
        self._connection = Connection(urls, name, self._setup, self._lose_channels)
        self._queue: FairQueue[StoredSession] = FairQueue(MAX_PENDING, MAX_PUBLISHING)
        self._pending: set[str] = set()
        self._publishers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._connection.__aexit__(*exc_info)

    @property
    def in_flight(self) -> int:
        """How many events are on their way to the broker."""
        return len(self._pending)

    @property
    def connected(self) -> bool:
        return self._channels is not None

    def announce(self, session: StoredSession) -> None:
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
        """Wait up to `grace_seconds` until the queued events are published. The sweep publishes the others."""
        if self._publishers:
            await asyncio.wait(self._publishers, timeout=grace_seconds)

    async def _publish_waiting(self) -> None:
        while taken := self._queue.take():
            tenant, session = taken
            try:
                await self._announce(session)
            except Exception:  # the next event may be another tenant's
                log.exception("revocation is not announced, the sweep will do it", extra={"session": session.id})
            finally:
                self._queue.done(tenant)
                self._pending.discard(session.id)

    async def _announce(self, session: StoredSession) -> None:
        if session.revocation is None:
            raise ValueError("the session is not revoked")
        if self._channels is None:
            return
        try:
            await self._announce_on(self._channels, session, session.revocation)
        except (ConnectionLost, AuthError) as error:
            log.warning(
                "revocation is not announced, the sweep will do it",
                extra={"session": session.id, "error": f"{type(error).__name__}: {error}"},
            )

    async def _announce_on(self, channels: TenantChannels, session: StoredSession, revocation: Revocation) -> None:
        event = session.revoked_event(self._source)
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT_SECONDS):
                await channels.publish(session.tenant, _message(event), event.data.routing_key)
        except DeliveryError:
            await self._refused(session, revocation.refusals + 1)
            return
        except TimeoutError:
            if channels.blocked:  # the broker holds the event up, no queue or binding does
                raise ConnectionLost("broker is in an alarm") from None
            await self._refused(session, revocation.refusals + 1)
            return
        now = self._clock.now()
        if not revocation.refusals:  # the time of a retried event would measure the subscriber
            self._on_published((now - revocation.at).total_seconds())
        await self._sessions.announced(session, now)

    async def _refused(self, session: StoredSession, refusals: int) -> None:
        now, delay = self._clock.now(), retry_delay(refusals)
        if not await self._sessions.refused(session, now, None if delay is None else now + delay):
            return  # another worker has counted a refusal at the same time
        self._on_refused(delay is not None)
        fields = {"tenant": session.tenant, "session": session.id, "refusals": refusals}
        if delay is None:
            log.warning("a tenant's queues refused a revocation too often, it is only listed now", extra=fields)
            return
        seconds = time.monotonic()
        if seconds - self._logged_at.get(session.tenant, float("-inf")) >= LOG_PAUSE_SECONDS:
            self._logged_at[session.tenant] = seconds
            log.warning("a tenant's queues refuse or hold up revocations, they are published again later", extra=fields)

    async def _setup(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        if self._declare:
            async with connection.channel() as channel:
                await declare_exchanges(channel)
        self._channels = TenantChannels(connection, self._connection.drop)
        return []  # `TenantChannels` opens and closes channels itself

    def _lose_channels(self) -> None:
        if self._channels is not None:
            self._channels.close()
        self._channels = None


def _message(event: SessionRevokedEvent) -> Message:
    return Message(
        event.to_json(),
        content_type=CLOUDEVENTS_TYPE,
        type=event.type,
        message_id=event.id,
        timestamp=event.time,
        delivery_mode=DeliveryMode.PERSISTENT,
    )
