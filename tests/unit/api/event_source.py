"""A client of an event stream, below HTTP, that can stop reading and disconnect; and events for it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message

from api.examples import REVOCATION, TENANT_ID
from shared.contracts.events import SessionRevokedEvent
from tests.event_stream import Block

TENANT = {"Authorization": "Bearer tenant-token"}
#: The service's time at the start of a stream.
NOW = 1_767_229_260
#: Bounds how long a broken test waits.
PATIENCE_SECONDS = 10


def an_event(session_id: str, *, tenant: str = TENANT_ID, at: int = NOW) -> SessionRevokedEvent:
    """Build the event of a revoked session."""
    example = SessionRevokedEvent.model_validate(REVOCATION)
    data = example.data.model_copy(update={"session_id": session_id, "tenant": tenant, "event_timestamp": at})
    return SessionRevokedEvent.of(data, example.source)


def a_page(*events: SessionRevokedEvent, next_cursor: str = "0") -> dict[str, Any]:
    """Build a reply of `event.list`."""
    return {"events": [event.model_dump(mode="json") for event in events], "nextCursor": next_cursor, "asOf": NOW}


class EventSource:
    """`GET /events` of an ASGI application; the context manager is entered once the response has started."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str], query: str = "") -> None:
        self.status = 0
        self.headers = Headers()
        self._app = app
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},  # the versions that Uvicorn states
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/events",
            "raw_path": b"/events",
            "root_path": "",
            "query_string": query.encode(),
            "headers": Headers(headers).raw,
            "client": ("203.0.113.7", 50000),
            "server": ("edge", 80),
        }
        self._answered = asyncio.Event()
        self._reads = asyncio.Event()
        self._reads.set()
        self._gone = asyncio.Event()
        self._blocks: asyncio.Queue[Block | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._requested = False

    async def __aenter__(self) -> Self:
        self.start()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._answered.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()

    def start(self) -> None:
        """Send the request."""
        self._task = asyncio.create_task(self._run())

    async def next(self) -> Block:
        """Return the next block of the stream."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            block = await self._blocks.get()
        assert block is not None, "the stream has ended"
        return block

    async def rest(self) -> list[Block]:
        """Return all blocks until the stream ends."""
        blocks = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while block := await self._blocks.get():
                blocks.append(block)
        return blocks

    def pause(self) -> None:
        """Stop reading, so that the application has to wait."""
        self._reads.clear()

    def go_on(self) -> None:
        """Resume reading."""
        self._reads.set()

    async def leave(self) -> None:
        """Disconnect, and wait until the application has returned."""
        self._gone.set()
        self._reads.set()
        assert self._task is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._task

    async def _run(self) -> None:
        await self._app(self._scope, self._receive, self._send)
        self._blocks.put_nowait(None)

    async def _receive(self) -> Message:
        if not self._requested:
            self._requested = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await self._reads.wait()
        if self._gone.is_set():
            return
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], Headers(raw=message["headers"])
            self._answered.set()
        elif self.status == 200:
            for text in message["body"].decode().split("\n\n"):
                if text:
                    self._blocks.put_nowait(Block.parse(text))


@asynccontextmanager
async def begun(app: ASGIApp, last_event_id: int | None = None) -> AsyncIterator[EventSource]:
    """Open a stream and read its first block."""
    position = {} if last_event_id is None else {"Last-Event-ID": str(last_event_id)}
    async with EventSource(app, {**TENANT, **position}) as source:
        assert source.status == 200
        await source.next()
        yield source
