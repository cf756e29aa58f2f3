"""event.list"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from shared.contracts.errors import FieldProblem, InvalidRequest
from shared.contracts.event_list import MAX_SINCE, OVERLAP_SECONDS, EventListReply, EventListRequest
from shared.contracts.user_list import NO_CURSOR
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.tokens import tenant_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Several times what all workers publish at a time; what is beyond is not sent yet, and will come by the feed.
MAX_ON_THEIR_WAY = 512
_CURSOR = re.compile(r"([0-9]{1,12})\.([0-9]{1,15})\.([A-Za-z0-9_-]{1,64})")


@dataclass(frozen=True, slots=True)
class _Cursor:
    """How far a list came: when it was begun, and the last event on the page, by its announcement and its session."""

    as_of: int
    at: datetime
    session_id: str

    @classmethod
    def read(cls, text: str) -> Self:
        """Raises `InvalidRequest` if no page answered it."""
        match = _CURSOR.fullmatch(text)
        if match is None or int(match[1]) > MAX_SINCE or int(match[2]) > MAX_SINCE * 1000:
            problem = FieldProblem(field="cursor", message=f"must be a nextCursor of an earlier page, or {NO_CURSOR}")
            raise InvalidRequest(problems=[problem])
        return cls(int(match[1]), EPOCH + timedelta(milliseconds=int(match[2])), match[3])

    @property
    def is_first(self) -> bool:
        """Whether it is of no page yet."""
        return not self.session_id

    def __str__(self) -> str:
        return f"{self.as_of}.{(self.at - EPOCH) // timedelta(milliseconds=1)}.{self.session_id}"


async def event_list(request: EventListRequest, _: Call, ports: Ports) -> EventListReply:
    """One page, in order of announcement. Every page names the time of the first: what is announced while the others
    are read may lie before their ends, and belongs to the next list."""
    tenant = await tenant_of(request.tenant_token, ports)
    after = _begin(request, ports)
    # An event may have passed by the caller before it had subscribed and not be noted as announced yet. It is looked
    # for first: what is noted between the two reads is found by both of them rather than by neither.
    on_their_way = await ports.sessions.unannounced_of(tenant, MAX_ON_THEIR_WAY) if after.is_first else ()
    found = await ports.sessions.announced_after(tenant, after.at, after.session_id, request.limit + 1)
    page = found[: request.limit]
    next_cursor = NO_CURSOR
    if len(found) > len(page) and (last := page[-1].revocation) and last.announced_at:
        next_cursor = str(_Cursor(after.as_of, last.announced_at, page[-1].id))
    sessions = {session.id: session for session in (*on_their_way, *page)}
    return EventListReply(
        events=tuple(session.revoked_event(ports.tokens.issuer) for session in sessions.values()),
        next_cursor=next_cursor,
        as_of=after.as_of,
    )


def _begin(request: EventListRequest, ports: Ports) -> _Cursor:
    if request.cursor not in ("", NO_CURSOR):
        return _Cursor.read(request.cursor)
    # The time is taken before anything is read: what is revoked from now on is not before it.
    as_of = int(ports.clock.now().timestamp())
    return _Cursor(as_of, EPOCH + timedelta(seconds=request.since - OVERLAP_SECONDS), "")
