"""An application on a real socket behind the edge's HTTP, and clients that write raw bytes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from api.limits.http import LimitedHttp

#: Bounds how long a broken test waits.
SECONDS = 30


@dataclass(frozen=True)
class Heard:
    """A request as an application received it."""

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Listener:
    """An application that reads each request to its end, records it, and answers 200."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            assert message["type"] == "http.request", message
            body += message["body"]
            more = message["more_body"]
        # Copied now: a trailer that was added to the headers would show.
        self.heard.append(Heard(scope["method"], scope["path"], tuple(scope["headers"]), body))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


async def refusing(_: Scope, __: Receive, send: Send) -> None:
    """Answer 404 without reading the body, as the router does."""
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


@contextlib.asynccontextmanager
async def served(
    app: ASGIApp, http: type[LimitedHttp] = LimitedHttp, state: dict[str, Any] | None = None, **config: Any
) -> AsyncIterator[int]:
    """Serve the application with this HTTP class and yield the port."""
    config = {"host": "127.0.0.1", "port": 0, "lifespan": "off", "log_config": None, "ws": "none", **config}
    settings = uvicorn.Config(app, http=http, **config)
    server = uvicorn.Server(settings)
    settings.load()
    server.lifespan = settings.lifespan_class(settings)
    server.lifespan.state = state or {}
    await server.startup()
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        for connection in server.server_state.connections:
            connection.transport.abort()
        server.force_exit = True
        await server.shutdown()


@contextlib.asynccontextmanager
async def dialed(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to this port, with a limit on the time."""
    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def connected(
    app: ASGIApp, http: type[LimitedHttp] = LimitedHttp, state: dict[str, Any] | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Serve the application and connect to it."""
    async with served(app, http, state) as port, dialed(port) as connection:
        yield connection


async def answers(reader: asyncio.StreamReader) -> list[int]:
    """Return the statuses of all complete responses until the server closes the connection."""
    statuses = []
    while line := await reader.readline():
        protocol, status, _ = line.split(b" ", 2)
        assert protocol == b"HTTP/1.1", line
        head = await reader.readuntil(b"\r\n\r\n") if status != b"100" else await reader.readuntil(b"\r\n")
        if status != b"100":
            fields = dict(field.lower().split(b": ", 1) for field in head.strip().split(b"\r\n"))
            await reader.readexactly(int(fields[b"content-length"]))
        statuses.append(int(status))
    return statuses
