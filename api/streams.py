"""The event streams that are open at this edge: which event goes to which of them, and when each of them ends.

An end is never a loss. Whatever the reason, a client that comes back says how far it came, and goes on from there.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict, deque
from collections.abc import Iterator
from enum import StrEnum

from shared.contracts.errors import Overloaded, Unavailable
from shared.contracts.events import SessionRevokedEvent

log = logging.getLogger(__name__)

#: What may wait for a client that reads more slowly than its tenant ends sessions; half a megabyte at the very most.
MAX_WAITING = 256


class Ending(StrEnum):
    """Why a stream ended, as its last comment tells a person who looks at it."""

    STOPPING = "this edge is stopping"
    INTERRUPTED = "events may have been missed"
    SLOW = "too many events were waiting to be read"
    REVOKED = "the session of the tenant token ended"
    EXPIRED = "the tenant token expired"


class Stream:
    """One open stream: what waits to be sent on it, and why it ended once it has."""

    def __init__(self, session_id: str, expires: int, heartbeat_seconds: float) -> None:
        """The stream is the tenant's own session's, and lives no longer; `expires` is when it ends by itself."""
        self.session_id = session_id
        self.expires = expires
        self.ended: Ending | None = None
        self._heartbeat_seconds = heartbeat_seconds
        self._waiting: deque[SessionRevokedEvent] = deque()
        self._changed = asyncio.Event()
        self._expiry: asyncio.TimerHandle | None = None

    @property
    def behind(self) -> bool:
        """Whether an event has arrived that was not taken yet."""
        return bool(self._waiting)

    async def next(self) -> SessionRevokedEvent | None:
        """The next event. None when the stream has ended, or when it is time for a heartbeat."""
        if not self._waiting and not self.ended:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat_seconds):
                    await self._changed.wait()
        return self._waiting.popleft() if self._waiting else None

    def put(self, event: SessionRevokedEvent) -> None:
        """Queues an event; ends the stream instead when there is no room."""
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
        """Nothing more is taken; what waits is still sent. The first reason counts."""
        self.ended = self.ended or ending
        self._changed.set()

    def expire_in(self, seconds: float) -> None:
        """Ends it by itself then."""
        self._expiry = asyncio.get_running_loop().call_later(seconds, self.end, Ending.EXPIRED)

    def close(self) -> None:
        """Its client is gone."""
        if self._expiry:
            self._expiry.cancel()


class Streams:
    """All open streams. Its methods are called from the event loop, and none of them waits."""

    def __init__(self, max_streams: int, max_streams_per_tenant: int, heartbeat_seconds: float) -> None:
        self._max_streams = max_streams
        self._max_streams_per_tenant = max_streams_per_tenant
        self._heartbeat_seconds = heartbeat_seconds
        self._by_tenant: defaultdict[str, set[Stream]] = defaultdict(set)
        self.count = 0
        """How many are open."""
        self._stopping = False

    @contextlib.contextmanager
    def open(self, tenant: str, session_id: str, expires: int) -> Iterator[Stream]:
        """A stream of the tenant's events from now on. Raises `Overloaded`, or `Unavailable` when the edge stops."""
        if self._stopping:
            raise Unavailable
        if self.count >= self._max_streams or len(self._by_tenant.get(tenant, ())) >= self._max_streams_per_tenant:
            raise Overloaded("too many event streams are open, try again later")
        stream = Stream(session_id, expires, self._heartbeat_seconds)
        self._by_tenant[tenant].add(stream)
        self.count += 1
        try:
            yield stream
        finally:
            stream.close()
            self.count -= 1
            self._by_tenant[tenant].discard(stream)
            if not self._by_tenant[tenant]:
                del self._by_tenant[tenant]

    def deliver(self, event: SessionRevokedEvent) -> None:
        """Passes an event to its tenant's streams. A stream whose own session it ends, ends with it."""
        for stream in self._by_tenant.get(event.data.tenant, ()):
            stream.put(event)
            if event.data.session_id == stream.session_id:
                stream.end(Ending.REVOKED)

    def interrupt(self) -> None:
        """Ends all streams: an event may not have arrived."""
        self._end_all(Ending.INTERRUPTED)

    def stop(self) -> None:
        """Ends all streams and opens no more."""
        self._stopping = True
        self._end_all(Ending.STOPPING)

    def _end_all(self, ending: Ending) -> None:
        for streams in self._by_tenant.values():
            for stream in streams:
                stream.end(ending)
