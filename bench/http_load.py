"""A lean HTTP/1.1 client for load: keep-alive connections, each with one request in flight at a time."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

from yarl import URL

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_END_OF_HEADERS = b"\r\n\r\n"


class UnexpectedAnswer(Exception):
    """The service did not answer 200, so the measurement is invalid."""


def http_request(method: str, path: str, body: bytes = b"", token: str | None = None) -> bytes:
    """Return the bytes of a request, to be built once and sent many times."""
    headers = [f"{method} {path} HTTP/1.1", "Host: bench", f"Content-Length: {len(body)}"]
    if body:
        headers.append("Content-Type: application/json")
    if token:
        headers.append(f"Authorization: Bearer {token}")
    return "\r\n".join(headers).encode() + _END_OF_HEADERS + body


class HttpConnections:
    """Pool of connections to one or several servers."""

    def __init__(self, connections: Sequence["_Connection"]) -> None:
        self._free: asyncio.LifoQueue[_Connection] = asyncio.LifoQueue()
        for connection in connections:
            self._free.put_nowait(connection)

    async def ask(self, request: bytes) -> bytes:
        """Send a request on a free connection and return the body. Raises `UnexpectedAnswer` if it is not 200."""
        connection = await self._free.get()
        answer = await connection.ask(request)
        self._free.put_nowait(connection)
        return answer


@asynccontextmanager
async def http_connections(urls: Sequence[str], count: int) -> AsyncIterator[HttpConnections]:
    """Open `count` connections for one run; a server would close them when idle."""
    loop = asyncio.get_running_loop()
    connections = []
    try:
        for number in range(count):
            url = URL(urls[number % len(urls)])
            _, connection = await loop.create_connection(_Connection, url.host or "", url.port or 0)
            connections.append(connection)
        yield HttpConnections(connections)
    finally:
        for connection in connections:
            connection.close()


class _Connection(asyncio.Protocol):
    """HTTP client for this service only: it relies on a Content-Length in every response."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._received = b""

    async def ask(self, request: bytes) -> bytes:
        if self._transport is None:
            raise UnexpectedAnswer("connection is closed")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is no subclass of asyncio's.
        self._transport = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._answer and not self._answer.done():
            self._answer.set_exception(UnexpectedAnswer(f"connection was closed: {exc}"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        headers, end, body = self._received.partition(_END_OF_HEADERS)
        if not end or self._answer is None:
            return
        length = _CONTENT_LENGTH.search(headers)
        if len(body) < int(length[1] if length else 0):
            return
        self._received = b""
        if headers.startswith(b"HTTP/1.1 200 "):
            self._answer.set_result(body)
        else:
            self._answer.set_exception(UnexpectedAnswer((headers.partition(b"\r\n")[0] + b" " + body).decode()))
