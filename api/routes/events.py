"""Route of a tenant's revocations as Server-Sent Events: missed ones first, then each as it happens.

The id of a block is a position: a time in seconds on the service's clock. All events announced up to
that time were sent on this stream or on an earlier one. A client reconnects with its position, and
`event.list` fills the gap. The client misses no event, and may receive those of the last two minutes twice.

A browser's `EventSource` reconnects after a stream has ended, but any status except 200 ends it for good (HTML,
9.2.3). A client that accepts event streams therefore gets a stream of one comment in place of a temporary error.
"""

import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from fastapi.sse import format_sse_event
from pydantic import BeforeValidator, WithJsonSchema

from api.dependencies import AuthenticatedOnTenant, Caller, EdgeFeed, OpenStreams, Workers
from api.errors import answered_code
from api.examples import REVOCATION
from api.openapi import documented
from api.streams import Ending, Stream
from api.workers import WorkerCalls
from shared.amqp.clock import elapsed_seconds
from shared.amqp.jitter import jittered
from shared.contracts.errors import AuthError, InvalidToken, Temporary, Unavailable
from shared.contracts.event_list import EVENT_LIST, MAX_EVENTS_PER_PAGE, MAX_SINCE, EventListReply, EventListRequest
from shared.contracts.events import SessionRevokedEvent
from shared.contracts.principal_get import PRINCIPAL_GET, CredentialKind, PrincipalGetRequest
from shared.contracts.tenant_verify import TENANT_VERIFY, TenantVerifyRequest
from shared.contracts.user_list import NO_CURSOR

EVENT_NAME = "session.revoked"
#: After an interruption all clients reconnect at once, and the feed recovers within one or two seconds.
FEED_WAIT_SECONDS = 3.0
#: Longest of the random delays before clients reconnect, so that the clients of a stopped edge spread out.
RETRY_MILLISECONDS = 5_000
#: Ids of sent events, to drop duplicates: an event announced while missed events are read arrives twice.
MAX_REMEMBERED = 256

#: nginx, and proxies that support its header, would buffer the stream.
UNBUFFERED = {"X-Accel-Buffering": "no"}


class EventStreamResponse(StreamingResponse):
    """Stream response whose heartbeats are written by `_blocks`: they carry positions, unlike FastAPI's."""

    media_type = "text/event-stream"


class EventRoute(APIRoute):
    """Route that tells clients of event streams to reconnect, where others get the response to a temporary error."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_or_defer(request: Request) -> Response:
            try:
                return await handle(request)
            except Temporary as error:
                if EventStreamResponse.media_type not in request.headers.get("accept", ""):
                    raise
                return _deferral(error)

        return handle_or_defer


router = APIRouter(tags=["Events"], route_class=EventRoute)


ReadPage = Callable[[str], Awaitable[EventListReply]]
"""Reads the page of missed events at a cursor."""


def _position(text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch("[0-9]{1,12}", text) or int(text) > MAX_SINCE:
        raise ValueError("must be an id of this stream")
    return int(text)


#: An id of this stream, or None if it is absent or empty.
Position = Annotated[
    int | None, BeforeValidator(_position), WithJsonSchema({"type": "string", "pattern": "^([0-9]{1,12})?$"})
]


async def _last_event_id(
    last_event_id: Annotated[
        Position, Header(alias="Last-Event-ID", description="The last received id; the stream continues after it.")
    ] = None,
    of_url: Annotated[
        Position, Query(alias="lastEventId", description="As `Last-Event-ID`, for clients that cannot set headers.")
    ] = None,
) -> int | None:
    # A browser that reconnects sends the header along with its original URL, so the header is newer.
    return of_url if last_event_id is None else last_event_id


async def _stream(
    request: Request, caller: AuthenticatedOnTenant, workers: Workers, feed: EdgeFeed, streams: OpenStreams
) -> AsyncIterator[Stream]:
    """Open a stream of the tenant's events from now on; it closes with the response."""
    await request.body()  # it is refused, if it is, before the stream begins
    tenant, session_id, expires, of_operator = await _subscriber(caller, workers)
    if not await feed.wait_alive(FEED_WAIT_SECONDS):
        raise Unavailable
    with streams.open(tenant, session_id, expires, of_operator=of_operator) as stream:
        yield stream


async def _subscriber(caller: Caller, workers: WorkerCalls) -> tuple[str, str, int, bool]:
    """Return the tenant, the session and the expiry of the caller's credential, and whether it is an operator's.

    `event.list` checks its permission. A tenant token is verified by `tenant.verify`, which older workers know, too.
    """
    try:
        claims = (await workers.call(TENANT_VERIFY, TenantVerifyRequest(token=caller["tenant_token"]))).decoded
    except InvalidToken:
        principal = await workers.call(PRINCIPAL_GET, PrincipalGetRequest(**caller))
        of_operator = principal.credential is CredentialKind.OPERATOR_TOKEN
        return principal.tenant, principal.session_id, principal.exp, of_operator
    return claims.tenant, claims.jti, claims.exp, False


def _documented() -> dict[str, Any]:
    """Return the documentation of the operation, with a stream as the response."""
    documentation = documented(EVENT_LIST)
    event = _block(SessionRevokedEvent.model_validate(REVOCATION), 1_767_229_200).decode()
    documentation["responses"][200] = {
        "description": "An open-ended event stream",
        "content": {EventStreamResponse.media_type: {"example": f"id: 1767229100\nretry: 2718\n\n{event}"}},
    }
    return {**documentation, "response_model": None, "response_class": EventStreamResponse}


def _block(event: SessionRevokedEvent, position: int) -> bytes:
    return format_sse_event(event=EVENT_NAME, id=str(position), data_str=event.to_json().decode())


@router.get("/events", **_documented())
async def stream_events(
    since: Annotated[int | None, Depends(_last_event_id)],
    stream: Annotated[Stream, Depends(_stream)],
    caller: AuthenticatedOnTenant,
    workers: Workers,
    feed: EdgeFeed,
) -> Response:
    """Stream the revocations of the tenant's sessions as Server-Sent Events.

    Each event is named `session.revoked`; its data is a CloudEvent. Its `id` is a position in time. A client that
    reconnects with this id as `Last-Event-ID` receives the missed events, and possibly duplicates. A duplicate has the
    same CloudEvent `id`. The stream ends when its credential does, and whenever events may
    have been missed. That of an operator also ends after a minute. Its last comment states the reason.

    A request with `Accept: text/event-stream`, such as an `EventSource` of a browser, gets no 503 or 504. It gets a
    stream that ends after one comment with the code of the error, so that the client reconnects.
    """

    async def read(cursor: str) -> EventListReply:
        # A client without a position has missed nothing; its request only reads the service's clock.
        request = EventListRequest(
            **caller,
            since=MAX_SINCE if since is None else since,
            cursor=cursor,
            limit=MAX_EVENTS_PER_PAGE,
        )
        return await workers.call(EVENT_LIST, request)

    first = await read(NO_CURSOR)
    read_at, as_of = elapsed_seconds(), first.as_of
    stream.expire_in(stream.expires - as_of)

    def proven() -> int:
        # The time, on the service's clock, up to which all announced events have reached this edge.
        return max(as_of, int(as_of + feed.proven_at - read_at))

    begin = as_of if since is None else min(since, as_of)
    blocks = _blocks(stream, begin, _missed(first, read), proven)
    return EventStreamResponse(blocks, headers=UNBUFFERED)


def _deferral(error: Temporary) -> Response:
    """Return a stream that ends at once. It has no id, so the client reconnects with the position that it has."""
    answered_code.set(error.code)
    retry = round(jittered(RETRY_MILLISECONDS, least=0.2)) + 1_000 * error.retry_after_seconds
    block = format_sse_event(comment=f"events are late: {error.code}", retry=retry)
    return Response(block, media_type=EventStreamResponse.media_type, headers=UNBUFFERED)


async def _missed(page: EventListReply, read: ReadPage) -> AsyncIterator[SessionRevokedEvent]:
    """Yield the events of this page and of all later ones. Raises what a call raises."""
    while True:
        for event in page.events:
            yield event
        if page.next_cursor == NO_CURSOR:
            return
        page = await read(page.next_cursor)


async def _blocks(
    stream: Stream, position: int, missed: AsyncIterator[SessionRevokedEvent], proven: Callable[[], int]
) -> AsyncIterator[bytes]:
    """Yield the blocks of the stream. A client may reconnect with the id of any block and misses nothing."""
    # A block without data sets the last id and raises no event (HTML, 9.2.6).
    retry = round(jittered(RETRY_MILLISECONDS, least=0.2))
    yield format_sse_event(id=str(position), retry=retry)
    told: deque[str] = deque(maxlen=MAX_REMEMBERED)
    try:
        async for event in missed:
            if stream.ended:
                break
            told.append(event.id)
            yield _block(event, position)  # missed events are unordered, so the position stays
    except AuthError:
        stream.end(Ending.INTERRUPTED)
    if not stream.ended:  # otherwise some missed events are unsent, and the client must reconnect for them
        while (live := await stream.next()) or not stream.ended:
            if not (stream.behind or stream.ended):  # after an interruption, `proven` describes the new feed
                position = max(position, proven())
            if live is None:
                told.clear()
                yield format_sse_event(id=str(position))
            elif live.id not in told:
                told.append(live.id)
                yield _block(live, position)
    yield format_sse_event(comment=stream.ended)
