"""Iterators over revocations: live with catch-up, or from a durable queue.

Delivery is at least once. The live iterator skips events that it still remembers (`MAX_SEEN_IDS`).
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable

from ..amqp.clock import elapsed_seconds
from ..amqp.jitter import jittered
from ..contracts.errors import OUTAGES
from ..contracts.event_list import EventListReply
from ..contracts.events import SessionRevokedEvent
from ..contracts.user_list import NO_CURSOR
from .durable_subscription import DurableSubscription
from .feed_port import FeedFactory

log = logging.getLogger(__name__)

#: Events buffered for a slow reader. Further events are dropped and listed later.
MAX_BUFFERED = 10_000
#: Ids of delivered events, to skip the duplicates that catching up lists.
MAX_SEEN_IDS = 20_000
#: Time between attempts to catch up while no worker replies.
LISTING_RETRY_SECONDS = 1.0
#: Time that a feed may take to be alive before a warning is logged.
FEED_WARNING_SECONDS = 30.0
#: Backoff before a failed handler is called again: doubled each time, with jitter.
FIRST_PAUSE_SECONDS = 0.2
LAST_PAUSE_SECONDS = 30.0

EventStream = AsyncGenerator[SessionRevokedEvent, None]
EventHandler = Callable[[SessionRevokedEvent], Awaitable[None]]
ListEvents = Callable[[int, str], Awaitable[EventListReply]]
"""Lists a page of revocations: its arguments are `since`, in seconds since the epoch on the
service's clock, and the cursor."""


class LiveRevocations:
    """Events from a feed, from now on or since a time; events missed in an interruption are listed.

    The feed subscribes first, then the missed events are listed. So events published before the
    list, or while it is made, are in the list. Later events arrive over the feed.
    """

    def __init__(
        self,
        make_feed: FeedFactory,
        list_events: ListEvents,
        *,
        since: int | None = None,
        monotonic: Callable[[], float] = elapsed_seconds,
    ) -> None:
        """`since` is in seconds since the epoch on the service's clock. None: only new events."""
        self._feed = make_feed(on_revoked=self._revoked, on_interrupted=self._interrupted)
        self._list_events = list_events
        self._monotonic = monotonic
        self._since = since
        self._since_at = 0.0  # the same time on our clock, or a little later
        self._behind = True
        self._interruptions = 0
        self._buffer: deque[SessionRevokedEvent] = deque()
        self._read_until = 0.0  # on our clock: events published before then have been read
        self._wake = asyncio.Event()
        self._seen: dict[str, None] = {}

    async def read(self) -> EventStream:
        """Iterate over events without end. Raises the refusals of `event.list`."""
        async with self._feed:
            while True:
                self._wake.clear()
                if self._behind:
                    async for event in self._catch_up():
                        if self._is_new(event):
                            yield event
                while self._buffer:
                    event = self._buffer.popleft()
                    if self._is_new(event):
                        yield event
                if not self._behind:
                    await self._wake.wait()

    async def _catch_up(self) -> EventStream:
        """List missed events. The caller repeats this if the feed was interrupted meanwhile."""
        while not await self._feed.wait_alive(FEED_WARNING_SECONDS):
            log.warning("revocation feed is not alive yet")
        interruptions = self._interruptions
        first = await _list_with_retries(
            self._list_events, int(time.time()) if self._since is None else self._since, NO_CURSOR
        )
        read_at = self._monotonic()
        if self._since is None:  # only new events: take the service's time from the reply
            self._since = first.as_of
        else:
            async for event in _remaining_events(self._list_events, self._since, first):
                yield event
        if interruptions == self._interruptions:
            self._since, self._since_at, self._behind = first.as_of, read_at, False

    def _revoked(self, event: SessionRevokedEvent) -> None:
        self._advance_read_position()
        if len(self._buffer) < MAX_BUFFERED:
            self._buffer.append(event)
        else:
            self._fall_behind()
        self._wake.set()

    def _interrupted(self) -> None:
        self._advance_read_position()
        self._fall_behind()
        self._wake.set()

    def _advance_read_position(self) -> None:
        if not self._buffer:
            self._read_until = max(self._read_until, self._feed.proven_at)  # a new feed has no proven time yet

    def _fall_behind(self) -> None:
        self._interruptions += 1
        if not self._behind and self._since is not None:
            self._since += max(0, int(self._read_until - self._since_at))
            self._behind = True

    def _is_new(self, event: SessionRevokedEvent) -> bool:
        if event.id in self._seen:
            return False
        self._seen[event.id] = None
        if len(self._seen) > MAX_SEEN_IDS:
            del self._seen[next(iter(self._seen))]
        return True


async def once_tenant_is_known(tenant: Callable[[], Awaitable[str]], events: EventStream) -> EventStream:
    """Wait until the tenant is known, then iterate over the events.

    Raises for wrong credentials, which a subscription would retry without end.
    """
    await wait_for_tenant(tenant)
    async with contextlib.aclosing(events):
        async for event in events:
            yield event


async def wait_for_tenant(tenant: Callable[[], Awaitable[str]]) -> str:
    """Return the tenant's id, and retry temporary and internal errors. Raises other errors."""
    while True:
        try:
            return await tenant()
        except OUTAGES as error:
            log.warning("tenant is not known yet, retrying", extra={"code": error.code})
            await asyncio.sleep(LISTING_RETRY_SECONDS)


async def read_durable(subscription: DurableSubscription, list_events: ListEvents, since: int | None) -> EventStream:
    """Iterate without end over the events of a durable queue, after those since `since` if it is
    given.

    An event is acknowledged when the reader requests the next one. If the reader stops, it is
    redelivered.
    """
    async with subscription:
        if since is not None:
            await subscription.subscribed()
            async for event in _remaining_events(
                list_events, since, await _list_with_retries(list_events, since, NO_CURSOR)
            ):
                yield event
        while True:
            delivery = await subscription.next()
            yield delivery.event
            await delivery.ack()


async def handle_durable(
    subscription: DurableSubscription,
    handler: EventHandler,
    attempts: int,
    on_subscribed: Callable[[], None] | None = None,
) -> None:
    """Call the handler with each event of a durable queue, without end.

    If the handler raises, it is called again with backoff, up to `attempts` times in total. Then
    the event is dead-lettered. `on_subscribed` is called once, when the queue is bound.
    """
    async with subscription:
        if on_subscribed is not None:
            await subscription.subscribed()
            on_subscribed()
        while True:
            delivery = await subscription.next()
            if await _handle_with_retries(handler, delivery.event, attempts):
                await delivery.ack()
            else:
                await delivery.dead_letter()


async def _handle_with_retries(handler: EventHandler, event: SessionRevokedEvent, attempts: int) -> bool:
    pause_seconds = FIRST_PAUSE_SECONDS
    for attempt in range(1, attempts + 1):
        try:
            await handler(event)
        except Exception:  # the handler is the service's own code: any exception means that it failed
            log.exception("handler failed", extra={"event_id": event.id, "attempt": attempt, "attempts": attempts})
        else:
            return True
        if attempt < attempts:
            await asyncio.sleep(jittered(pause_seconds))
            pause_seconds = min(2 * pause_seconds, LAST_PAUSE_SECONDS)
    return False


async def _remaining_events(list_events: ListEvents, since: int, page: EventListReply) -> EventStream:
    """Iterate over the events of this page and of all later pages."""
    while True:
        for event in page.events:
            yield event
        if page.next_cursor == NO_CURSOR:
            return
        page = await _list_with_retries(list_events, since, page.next_cursor)


async def _list_with_retries(list_events: ListEvents, since: int, cursor: str) -> EventListReply:
    while True:
        try:
            return await list_events(since, cursor)
        except OUTAGES as error:
            log.warning("missed revocations cannot be listed yet, retrying", extra={"code": error.code})
            await asyncio.sleep(LISTING_RETRY_SECONDS)
