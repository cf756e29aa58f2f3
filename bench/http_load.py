"""A lean HTTP/1.1 load generator: kept-alive connections, each with one request under way at a time."""

import asyncio
import re
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle

from yarl import URL

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_END_OF_HEADERS = b"\r\n\r\n"


class UnexpectedAnswer(Exception):
    """The service did not answer 200: whatever was measured is not what was meant."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a load showed."""

    per_second: float
    p50_ms: float


class Load:
    """A load on one server, over so many connections. They last for one run: a server closes idle ones."""

    def __init__(self, url: str, connections: int) -> None:
        self._url = URL(url)
        self._connections = connections

    def request(self, method: str, path: str, body: bytes = b"", token: str | None = None) -> bytes:
        """A request as it goes over the wire, made once and sent many times."""
        headers = [f"{method} {path} HTTP/1.1", f"Host: {self._url.authority}", f"Content-Length: {len(body)}"]
        if body:
            headers.append("Content-Type: application/json")
        if token:
            headers.append(f"Authorization: Bearer {token}")
        return "\r\n".join(headers).encode() + _END_OF_HEADERS + body

    async def once(self, request: bytes) -> bytes:
        """The body of the answer. Raises `UnexpectedAnswer` if it is not 200."""
        async with self._connected(1) as (connection,):
            return await connection.ask(request)

    async def run(self, requests: Sequence[bytes], seconds: float) -> Measured:
        """Sends the requests in turn over all connections for so long. Raises `UnexpectedAnswer`."""
        taken: list[float] = []
        turn = cycle(requests)
        async with self._connected(self._connections) as connections:
            began = time.perf_counter()

            async def work(connection: _Connection) -> None:
                while (sent := time.perf_counter()) < began + seconds:
                    await connection.ask(next(turn))
                    taken.append(time.perf_counter() - sent)

            await asyncio.gather(*map(work, connections))
            return Measured(len(taken) / (time.perf_counter() - began), 1000 * statistics.median(taken))

    @asynccontextmanager
    async def _connected(self, count: int) -> AsyncIterator[list["_Connection"]]:
        loop = asyncio.get_running_loop()
        connections = []
        try:
            for _ in range(count):
                _, connection = await loop.create_connection(_Connection, self._url.host or "", self._url.port or 0)
                connections.append(connection)
            yield connections
        finally:
            for connection in connections:
                connection.close()


class _Connection(asyncio.Protocol):
    """Reads just as much of HTTP as this service writes: every answer has a Content-Length."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
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
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_connection makes
        self._transport = transport

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
