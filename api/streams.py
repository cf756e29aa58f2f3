"""Open event streams of this edge: delivery of events to them, and the reasons for which they end.

No event is lost when a stream ends: the client reconnects with its position and continues from there.
"""

import asyncio
import contextlib
import logging
import math
from collections import defaultdict, deque
from collections.abc import Iterator
from enum import StrEnum

from shared.contracts.errors import Overloaded, Unavailable
from shared.contracts.events import SessionRevokedEvent

log = logging.getLogger(__name__)

#: Queued events of a client that reads slowly, half a megabyte at most. The stream ends when there are more.
MAX_WAITING = 256
#: Heartbeats after which a stream of an operator ends, about a minute. Its permission may be withdrawn while its
#: session lives, and no event tells that. The client reconnects, which checks the permission again.
HEARTBEATS_OF_OPERATORS = 4


class Ending(StrEnum):
    """Reason why a stream ended. It is the text of the stream's last comment."""

    STOPPING = "this edge is stopping"
    INTERRUPTED = "events may have been missed"
    SLOW = "too many events were waiting to be read"
    REVOKED = "the credential was revoked"
    EXPIRED = "the credential expired"
    UNCHECKED = "the operator's permission must be checked again"


class Stream:
    """One open stream: its queued events, and the reason for its end once it has ended."""

    def __init__(self, session_id: str, expires: int, heartbeat_seconds: float, *, of_operator: bool = False) -> None:
        """Bind the stream to the session of its credential; the credential expires at `expires`."""
        self.session_id = session_id
        self.expires = expires
        self.ended: Ending | None = None
        self._heartbeat_seconds = heartbeat_seconds
        self._checked_for = HEARTBEATS_OF_OPERATORS * heartbeat_seconds if of_operator else math.inf
        self._waiting: deque[SessionRevokedEvent] = deque()
        self._changed = asyncio.Event()
        self._expiry: asyncio.TimerHandle | None = None

    @property
    def behind(self) -> bool:
        """Return whether an event is queued."""
        return bool(self._waiting)

    async def next(self) -> SessionRevokedEvent | None:
        """Wait for the next event. None means that the stream has ended or that a heartbeat is due."""
        if not self._waiting and not self.ended:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat_seconds):
                    await self._changed.wait()
        return self._waiting.popleft() if self._waiting else None

    def put(self, event: SessionRevokedEvent) -> None:
        """Queue an event, or end the stream if its queue is full."""
        if self.ended:
            return
        if len(self._waiting) == MAX_WAITING:
            log.warning("event stream is read too slowly and ends", extra={"session": self.session_id})
            self._waiting.clear()
            self.end(Ending.SLOW)
            return
        self._waiting.append(event)
        self._changed.set()

    def end(self, ending: Ending) -> None:
        """End the stream: queued events are still sent, later ones are dropped. Only the first reason is kept."""
        self.ended = self.ended or ending
        self._changed.set()

    def expire_in(self, seconds: float) -> None:
        """End the stream after this time, because its credential expires. That of an operator ends sooner."""
        ending = Ending.EXPIRED if seconds <= self._checked_for else Ending.UNCHECKED
        self._expiry = asyncio.get_running_loop().call_later(min(seconds, self._checked_for), self.end, ending)

    def close(self) -> None:
        """Release the stream after its client has disconnected."""
        if self._expiry:
            self._expiry.cancel()


class Streams:
    """All open streams. Call its methods from the event loop; none of them waits."""

    def __init__(self, max_streams: int, max_streams_per_tenant: int, heartbeat_seconds: float) -> None:
        self._max_streams = max_streams
        self._max_streams_per_tenant = max_streams_per_tenant
        self._heartbeat_seconds = heartbeat_seconds
        self._by_tenant: defaultdict[str, set[Stream]] = defaultdict(set)
        self._by_session: defaultdict[str, set[Stream]] = defaultdict(set)
        self.count = 0
        """Number of open streams."""
        self._stopping = False

    @contextlib.contextmanager
    def open(self, tenant: str, session_id: str, expires: int, *, of_operator: bool = False) -> Iterator[Stream]:
        """Open a stream of the tenant's events from now on.

        Raises `Overloaded` if too many are open, and `Unavailable` if the edge is stopping.
        """
        if self._stopping:
            raise Unavailable
        if self.count >= self._max_streams or len(self._by_tenant.get(tenant, ())) >= self._max_streams_per_tenant:
            raise Overloaded("too many event streams are open, try again later")
        stream = Stream(session_id, expires, self._heartbeat_seconds, of_operator=of_operator)
        of_caller = ((self._by_tenant, tenant), (self._by_session, session_id))
        for streams, name in of_caller:
            streams[name].add(stream)
        self.count += 1
        try:
            yield stream
        finally:
            stream.close()
            self.count -= 1
            for streams, name in of_caller:
                streams[name].discard(stream)
                if not streams[name]:
                    del streams[name]

    def deliver(self, event: SessionRevokedEvent) -> None:
        """Pass an event to its tenant's streams. It also ends the streams whose own session it revokes.

        The session of an operator belongs to another tenant than the stream.
        """
        for stream in self._by_tenant.get(event.data.tenant, ()):
            stream.put(event)
        for stream in self._by_session.get(event.data.session_id, ()):
            stream.end(Ending.REVOKED)

    def interrupt(self) -> None:
        """End all streams, because events may have been missed."""
        self._end_all(Ending.INTERRUPTED)

    def stop(self) -> None:
        """End all streams and open no more."""
        self._stopping = True
        self._end_all(Ending.STOPPING)

    def _end_all(self, ending: Ending) -> None:
        for streams in self._by_tenant.values():
            for stream in streams:
                stream.end(ending)
