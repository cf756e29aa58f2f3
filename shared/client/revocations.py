"""Revocations as a service reads them, one after another: live with catch-up, or from a durable queue.

Each event comes at least once. The live reading leaves out what it has told before, as long as it remembers.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable

from ..amqp.clock import elapsed_seconds
from ..contracts.errors import InternalError, Temporary
from ..contracts.event_list import EventListReply
from ..contracts.events import SessionRevokedEvent
from ..contracts.user_list import NO_CURSOR
from .durable_subscription import DurableSubscription
from .feed_port import FeedFactory

log = logging.getLogger(__name__)

#: Events waiting for a reader that is slower than they come. Beyond this they are let go, and asked for later.
MAX_BUFFERED = 10_000
#: Ids of events told before, which catching up meets again.
MAX_SEEN_IDS = 20_000
#: Between attempts to catch up while nobody answers.
RETRY_SECONDS = 1.0
#: How long a feed may take to come alive before it is said in the log.
FEED_WARNING_SECONDS = 30.0
#: Before a handler that failed is called again; doubled each time, with jitter.
FIRST_PAUSE_SECONDS = 0.2
LAST_PAUSE_SECONDS = 30.0

Events = AsyncGenerator[SessionRevokedEvent, None]
Handler = Callable[[SessionRevokedEvent], Awaitable[None]]
ListEvents = Callable[[int, str], Awaitable[EventListReply]]
"""A page of the revocations since a moment, which is in seconds since the epoch on the service's clock."""


class LiveRevocations:
    """Events from now on, or since a moment, from a feed; what an interruption made it miss is asked for.

    The order matters: the feed is subscribed first, then what was missed is listed. What was announced before, or is
    being announced, is in the list; what is announced later comes by the feed.
    """

    def __init__(
        self,
        make_feed: FeedFactory,
        list_events: ListEvents,
        *,
        since: int | None = None,
        monotonic: Callable[[], float] = elapsed_seconds,
    ) -> None:
        """`since` is in seconds since the epoch on the service's clock; None: from now on."""
        self._feed = make_feed(on_revoked=self._revoked, on_interrupted=self._interrupted)
        self._list_events = list_events
        self._monotonic = monotonic
        self._since = since
        self._since_at = 0.0  # the same moment on our clock, or a little later
        self._behind = True
        self._interruptions = 0
        self._buffer: deque[SessionRevokedEvent] = deque()
        self._read_until = 0.0  # on our clock: what was announced before then has been read
        self._wake = asyncio.Event()
        self._seen: dict[str, None] = {}

    async def read(self) -> Events:
        """Events, for ever. Raises what an `event.list` raises when it is refused."""
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

    async def _catch_up(self) -> Events:
        """What was missed; to be done again if there is an interruption meanwhile."""
        while not await self._feed.wait_alive(FEED_WARNING_SECONDS):
            log.warning("revocations are waiting for their feed")
        interruptions = self._interruptions
        first = await _list_with_retries(
            self._list_events, int(time.time()) if self._since is None else self._since, NO_CURSOR
        )
        read_at = self._monotonic()
        if self._since is None:  # from now on: all there is to learn is the time
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
            self._read_until = max(self._read_until, self._feed.proven_at)  # of a new feed nothing is proven yet

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


async def once_tenant_is_known(tenant: Callable[[], Awaitable[str]], events: Events) -> Events:
    """The events, once it is known whose they are. Subscribing would try wrong credentials for ever; this raises."""
    await wait_for_tenant(tenant)
    async with contextlib.aclosing(events):
        async for event in events:
            yield event


async def wait_for_tenant(tenant: Callable[[], Awaitable[str]]) -> str:
    """Whose events are to be read, as soon as somebody can tell. Raises what it is refused with."""
    while True:
        try:
            return await tenant()
        except (Temporary, InternalError) as error:
            log.warning("the tenant is not known yet, trying again", extra={"code": error.code})
            await asyncio.sleep(RETRY_SECONDS)


async def read_durable(subscription: DurableSubscription, list_events: ListEvents, since: int | None) -> Events:
    """Events for ever, from a durable queue; before them those since a moment, if there is one.

    Each is acknowledged when the next is asked for. One that was not, because its reader broke off, comes again.
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


async def handle_durable(subscription: DurableSubscription, handler: Handler, attempts: int) -> None:
    """Calls the handler with each event of a durable queue, for ever.

    When it raises it is called again, `attempts` times in all and with growing pauses; then the event is set aside.
    """
    async with subscription:
        while True:
            delivery = await subscription.next()
            if await _handle_with_retries(handler, delivery.event, attempts):
                await delivery.ack()
            else:
                await delivery.dead_letter()


async def _handle_with_retries(handler: Handler, event: SessionRevokedEvent, attempts: int) -> bool:
    pause_seconds = FIRST_PAUSE_SECONDS
    for attempt in range(1, attempts + 1):
        try:
            await handler(event)
        except Exception:  # it is the service's own code: whatever it raises is its failure to handle this event
            log.exception("handler failed", extra={"event_id": event.id, "attempt": attempt, "attempts": attempts})
        else:
            return True
        if attempt < attempts:
            await asyncio.sleep(pause_seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret
            pause_seconds = min(2 * pause_seconds, LAST_PAUSE_SECONDS)
    return False


async def _remaining_events(list_events: ListEvents, since: int, page: EventListReply) -> Events:
    """The events of this page and of those after it."""
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
        except (Temporary, InternalError) as error:
            log.warning("revocations cannot be caught up with yet, trying again", extra={"code": error.code})
            await asyncio.sleep(RETRY_SECONDS)
