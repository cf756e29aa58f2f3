"""event.list: a tenant's revocations since a time, page by page, for subscribers that were away.

A subscriber that was cut off from the feed subscribes anew first, then asks for what it missed, then goes on. What has
been announced is listed, and so is what is being announced; what is announced later will come by the feed. So nothing
is left out, though a crash of a worker or the loss of the broker may lie between a revocation and its announcement.
Events are repeated rather than left out, and doing one twice does no harm.
"""

from typing import Annotated

from pydantic import Field, StringConstraints

from .errors import InvalidTenantToken
from .events import SessionRevokedEvent
from .operation import Lane, Operation, TenantRequest
from .user_list import NO_CURSOR
from .wire import WireModel

#: How far before `since` a list begins: the clocks of workers differ, and an event may be listed after a later one.
OVERLAP_SECONDS = 120
#: The end of the year 9999, which is the end of dates. Whoever asks since then learns the time, and of nothing past.
MAX_SINCE = 253_402_300_799
#: Two times and the id of a session.
MAX_CURSOR_CHARS = 128
#: Of the longest logins and device ids there are, these are some 700 KB, and three times as many are on the largest
#: first page. RabbitMQ takes messages of 16 MiB.
MAX_PAGE = 256
DEFAULT_PAGE = 100


class EventListRequest(TenantRequest):
    since: Annotated[int, Field(ge=0, le=MAX_SINCE)] = 0
    """Seconds since the epoch: `asOf` of the list before. The list begins two minutes earlier."""
    cursor: Annotated[str, StringConstraints(max_length=MAX_CURSOR_CHARS)] = NO_CURSOR
    """`nextCursor` of the page before, or `0`."""
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE


class EventListReply(WireModel):
    """Revocations are kept for a day after their sessions would have expired; nobody needs older ones."""

    events: tuple[SessionRevokedEvent, ...]
    """Of the tenant's users, and of its own sessions. In order of announcement, but for those that are being announced:
    they come with the first page, beyond its limit."""
    next_cursor: str
    as_of: int
    """The service's time, in seconds since the epoch, when the first page was read. Give it as `since` next time."""


EVENT_LIST = Operation(
    "event.list", Lane.MANAGE, EventListRequest, EventListReply, (InvalidTenantToken,), repeatable=True
)
