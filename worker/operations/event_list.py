"""The operation `event.list`."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from shared.contracts.errors import FieldProblem, InvalidRequest
from shared.contracts.event_list import EVENT_LIST, MAX_SINCE, OVERLAP_SECONDS, EventListReply, EventListRequest
from shared.contracts.user_list import NO_CURSOR
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.principal import principal_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Several times the number of events that all workers publish concurrently. Later events are not
#: sent yet, so the feed will deliver them.
MAX_UNANNOUNCED = 512
_CURSOR = re.compile(r"([0-9]{1,12})\.([0-9]{1,15})\.([A-Za-z0-9_-]{1,64})")


@dataclass(frozen=True, slots=True)
class _Cursor:
    """A position in the list: when the list was begun, and the time and session id of the page's last event."""

    as_of: int
    at: datetime
    session_id: str

    @classmethod
    def read(cls, text: str) -> Self:
        """Parse a cursor. Raises `InvalidRequest` if it is not one that a page returned."""
        match = _CURSOR.fullmatch(text)
        if match is None or int(match[1]) > MAX_SINCE or int(match[2]) > MAX_SINCE * 1000:
            problem = FieldProblem(field="cursor", message=f"must be a nextCursor of an earlier page, or {NO_CURSOR}")
            raise InvalidRequest(problems=[problem])
        return cls(int(match[1]), EPOCH + timedelta(milliseconds=int(match[2])), match[3])

    @property
    def is_first(self) -> bool:
        """Whether this is the position before the first page."""
        return not self.session_id

    def __str__(self) -> str:
        return f"{self.as_of}.{(self.at - EPOCH) // timedelta(milliseconds=1)}.{self.session_id}"


async def event_list(request: EventListRequest, call: Call, ports: Ports) -> EventListReply:
    """Return one page of revocation events, in order of announcement.

    Every page has the `as_of` time of the first page. An event announced while later pages are read
    may sort before the current position; the next list, from `as_of` on, returns it.
    """
    tenant = (await principal_of(EVENT_LIST, request, call, ports)).tenant
    after = _start(request, ports)
    # An event may be published before the caller subscribed, but not yet be recorded as announced.
    # Such events are read first: an event recorded between the two queries is then returned by both
    # instead of by neither.
    unannounced = await ports.sessions.unannounced_of(tenant, MAX_UNANNOUNCED) if after.is_first else ()
    found = await ports.sessions.announced_after(tenant, after.at, after.session_id, request.limit + 1)
    page = found[: request.limit]
    next_cursor = NO_CURSOR
    if len(found) > len(page) and (last := page[-1].revocation) and last.announced_at:
        next_cursor = str(_Cursor(after.as_of, last.announced_at, page[-1].id))
    sessions = {session.id: session for session in (*unannounced, *page)}
    return EventListReply(
        events=tuple(session.revoked_event(ports.tokens.issuer) for session in sessions.values()),
        next_cursor=next_cursor,
        as_of=after.as_of,
    )


def _start(request: EventListRequest, ports: Ports) -> _Cursor:
    if request.cursor not in ("", NO_CURSOR):
        return _Cursor.read(request.cursor)
    # The time is taken before the first query, so that no later revocation is before it.
    as_of = int(ports.clock.now().timestamp())
    return _Cursor(as_of, EPOCH + timedelta(seconds=request.since - OVERLAP_SECONDS), "")
