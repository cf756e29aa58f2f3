"""event.list: list the tenant's revocations since a time, for subscribers that were disconnected.

A subscriber that lost its connection subscribes again first, then lists the events that it missed,
then reads the feed. The list holds events that were published and events that are being published.
Later events arrive over the feed. So the subscriber misses nothing, even if a worker crashes or the
broker fails between a revocation and its event. The same event may be listed and delivered more
than once; apply it idempotently.
"""

from typing import Annotated

from pydantic import Field, StringConstraints

from .errors import Forbidden, InvalidTenantToken
from .events import SessionRevokedEvent
from .operation import Lane, Operation, TenantRequest
from .permissions import Permission
from .user_list import NO_CURSOR
from .wire import WireModel

#: How far before `since` a list begins: workers' clocks differ, and an event may be listed after a
#: later one.
OVERLAP_SECONDS = 120
#: Seconds since the epoch at the end of the year 9999, the last year that dates can express. A
#: request with this `since` returns the service's time and no past events.
MAX_SINCE = 253_402_300_799
#: A cursor holds two times and the id of a session.
MAX_EVENT_CURSOR_CHARS = 128
#: A page with the longest possible logins and device ids is about 700 KB. The largest first page
#: has three times as many events. RabbitMQ accepts messages of 16 MiB.
MAX_EVENTS_PER_PAGE = 256
EVENTS_PER_PAGE = 100


class EventListRequest(TenantRequest):
    since: Annotated[int, Field(ge=0, le=MAX_SINCE)] = 0
    """Seconds since the epoch: `asOf` of the previous list. The list begins two minutes earlier."""
    cursor: Annotated[str, StringConstraints(max_length=MAX_EVENT_CURSOR_CHARS)] = NO_CURSOR
    """`nextCursor` of the previous page; `0` for the first page."""
    limit: Annotated[int, Field(ge=1, le=MAX_EVENTS_PER_PAGE)] = EVENTS_PER_PAGE


class EventListReply(WireModel):
    """One page of revocations. The service keeps a revocation for a day after its session would
    have expired."""

    events: tuple[SessionRevokedEvent, ...]
    """Revocations of the tenant's own sessions and of its users' sessions, in order of publication.
    Events that are being published come with the first page, beyond its limit."""
    next_cursor: str
    """The cursor of the next page; `0` on the last page."""
    as_of: int
    """The service's time when it read the first page, in seconds since the epoch. Send it as the
    next `since`."""


EVENT_LIST = Operation(
    "event.list",
    Lane.MANAGE,
    EventListRequest,
    EventListReply,
    (InvalidTenantToken, Forbidden),
    repeatable=True,
    permission=Permission.EVENTS_READ,
)
