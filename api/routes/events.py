"""A tenant's revocations as Server-Sent Events: those its client missed, then each as it happens.

The id of a block is a position: a time in seconds on the service's clock. What was announced up to then has been sent
on this stream or on those before it. A client that comes back names its position, and `event.list` fills the gap; so it
may see events of the two minutes before again, and misses none.
"""

import random
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from pydantic import BeforeValidator, WithJsonSchema

from api.dependencies import Feed, OpenStreams, TenantToken, Workers
from api.examples import REVOCATION
from api.openapi import documented
from api.streams import Ending, Stream
from shared.amqp.clock import elapsed_seconds
from shared.contracts.errors import AuthError, InvalidTenantToken, InvalidToken, Unavailable
from shared.contracts.event_list import EVENT_LIST, MAX_PAGE, MAX_SINCE, EventListReply, EventListRequest
from shared.contracts.events import SessionRevokedEvent
from shared.contracts.tenant_verify import TENANT_VERIFY, TenantVerifyRequest
from shared.contracts.user_list import NO_CURSOR

EVENT_NAME = "session.revoked"
#: After an interruption all clients come back at once, and the feed is back within a second or two.
FEED_WAIT_SECONDS = 3.0
#: How long a client waits before it comes back. Spread, so that those of an edge that stopped do not come together.
RETRY_MILLISECONDS = (1_000, 5_000)
#: What is announced while missed events are read comes both ways, and once to the client.
MAX_REMEMBERED = 256

router = APIRouter(tags=["Events"])


class EventStreamResponse(StreamingResponse):
    """FastAPI's own writes comments as heartbeats, and ours carry positions."""

    media_type = "text/event-stream"


ReadPage = Callable[[str], Awaitable[EventListReply]]
"""The page of missed events at a cursor."""


def _position(text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch("[0-9]{1,12}", text) or int(text) > MAX_SINCE:
        raise ValueError("must be an id of this stream")
    return int(text)


#: Absent, or an id; an empty one is as good as none, and null is no text.
Position = Annotated[
    int | None, BeforeValidator(_position), WithJsonSchema({"type": "string", "pattern": "^([0-9]{1,12})?$"})
]


async def _last_event_id(
    last_event_id: Annotated[
        Position, Header(alias="Last-Event-ID", description="The last id that the client got: the stream begins there.")
    ] = None,
    of_url: Annotated[
        Position, Query(alias="lastEventId", description="The same, from clients that cannot set the header.")
    ] = None,
) -> int | None:
    # The header is of a client that came back by itself, at a URL that says where it began.
    return of_url if last_event_id is None else last_event_id


async def _stream(
    tenant_token: TenantToken, workers: Workers, feed: Feed, streams: OpenStreams
) -> AsyncIterator[Stream]:
    """A stream of the tenant's events, which takes all of them from here on, until the response is done."""
    try:
        claims = (await workers.call(TENANT_VERIFY, TenantVerifyRequest(token=tenant_token))).decoded
    except InvalidToken:
        raise InvalidTenantToken from None
    if not await feed.wait_alive(FEED_WAIT_SECONDS):
        raise Unavailable
    with streams.open(claims.tenant, claims.jti, claims.exp) as stream:
        yield stream


def _documented() -> dict[str, Any]:
    """As every other operation, with a stream for its reply."""
    documentation = documented(EVENT_LIST)
    event = _block(SessionRevokedEvent.model_validate(REVOCATION), 1_767_229_200).decode()
    documentation["responses"][200] = {
        "description": "A stream without an end",
        "content": {EventStreamResponse.media_type: {"example": f"id: 1767229100\nretry: 2718\n\n{event}"}},
    }
    return {**documentation, "response_model": None, "response_class": EventStreamResponse}


def _block(event: SessionRevokedEvent, position: int) -> bytes:
    return format_sse_event(event=EVENT_NAME, id=str(position), data_str=event.to_json().decode())


@router.get("/events", **_documented())
async def stream_events(
    since: Annotated[int | None, Depends(_last_event_id)],
    stream: Annotated[Stream, Depends(_stream)],
    tenant_token: TenantToken,
    workers: Workers,
    feed: Feed,
) -> Response:
    """Tells of each session of the tenant that ends before its time, as Server-Sent Events.

    An event is `session.revoked` with a CloudEvent as its data. The `id` is a position in time: a client that comes
    back with it as `Last-Event-ID` gets what it missed, and maybe some events again; their own `id` is the same each
    time. A stream ends with the session of its token, and whenever an event might have been missed; a comment says why.
    """

    async def read(cursor: str) -> EventListReply:
        # A client without a position has missed nothing: it only needs to know the time.
        request = EventListRequest(
            tenant_token=tenant_token, since=MAX_SINCE if since is None else since, cursor=cursor, limit=MAX_PAGE
        )
        return await workers.call(EVENT_LIST, request)

    first = await read(NO_CURSOR)
    read_at, as_of = elapsed_seconds(), first.as_of
    stream.expire_in(stream.expires - as_of)

    def proven() -> int:
        # Up to when, on the service's clock, everything that was announced has reached this edge.
        return max(as_of, int(as_of + feed.proven_at - read_at))

    begin = as_of if since is None else min(since, as_of)
    blocks = _blocks(stream, begin, _missed(first, read), proven)
    # nginx, and what took over its header, would hold back a part of the stream.
    return EventStreamResponse(blocks, headers={"X-Accel-Buffering": "no"})


async def _missed(page: EventListReply, read: ReadPage) -> AsyncIterator[SessionRevokedEvent]:
    """The events of this page and of those after it. Raises what a call raises."""
    while True:
        for event in page.events:
            yield event
        if page.next_cursor == NO_CURSOR:
            return
        page = await read(page.next_cursor)


async def _blocks(
    stream: Stream, position: int, missed: AsyncIterator[SessionRevokedEvent], proven: Callable[[], int]
) -> AsyncIterator[bytes]:
    """All that is sent. A client that is cut off after any block and comes back with its id misses nothing."""
    # Without data nobody is told of a block, and its id is taken all the same (HTML, 9.2.6).
    retry = random.randint(*RETRY_MILLISECONDS)  # noqa: S311 - jitter is no secret
    yield format_sse_event(id=str(position), retry=retry)
    told: deque[str] = deque(maxlen=MAX_REMEMBERED)
    try:
        async for event in missed:
            if stream.ended:
                break
            told.append(event.id)
            yield _block(event, position)  # not further on: they come in no order that it could follow
    except AuthError:
        stream.end(Ending.INTERRUPTED)
    if not stream.ended:  # or some of what was missed is not sent, and its client has to ask for it again
        while (live := await stream.next()) or not stream.ended:
            if not (stream.behind or stream.ended):  # after an interruption, what is proven is proven of a new feed
                position = max(position, proven())
            if live is None:
                told.clear()
                yield format_sse_event(id=str(position))
            elif live.id not in told:
                told.append(live.id)
                yield _block(live, position)
    yield format_sse_event(comment=stream.ended)
