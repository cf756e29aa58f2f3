"""Clients that take their time, or do not stop: spoken to in bytes, on a server that is uvicorn's."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from api.limits import MAX_HEADER_BYTES, LimitedHttp
from tests.unit.api.conftest import OpenEdge
from tests.unit.api.fake_rpc import FakeRpc

#: Of things that happen at once on any machine, or not at all.
SECONDS = 30


class Hurried(LimitedHttp):
    """Waits for headers as long as a test can wait for their end."""

    header_seconds = 0.2


async def _app(_: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


@contextlib.asynccontextmanager
async def connected(http: type[LimitedHttp]) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a server that speaks this HTTP."""
    config = uvicorn.Config(_app, host="127.0.0.1", port=0, http=http, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(SECONDS):
            yield reader, writer
    finally:
        writer.close()
        server.force_exit = True
        await server.shutdown()


@pytest.mark.parametrize("begun", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: edge\r\n", b"GET / HTTP/1.1\r\nX: "])
async def test_headers_that_do_not_come(begun: bytes) -> None:
    """A connection whose headers do not end in time is closed, however far they came."""
    async with connected(Hurried) as (reader, writer):
        writer.write(begun)
        assert await reader.read() == b""


async def test_headers_that_come_slowly() -> None:
    """A byte now and then buys no time: the limit is on the whole."""
    async with connected(Hurried) as (reader, writer):

        async def trickle() -> None:
            writer.write(b"GET / HTTP/1.1\r\nX: ")
            while True:
                writer.write(b"x")
                await asyncio.sleep(0.01)

        trickling = asyncio.create_task(trickle())
        # A byte that is on its way when the edge closes is answered with a reset.
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        trickling.cancel()


async def test_a_second_request_gets_its_own_time() -> None:
    """After an answer the connection waits as long as it waits anyway; a request that begins has to end."""
    async with connected(Hurried) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        assert await reader.read() == b""


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100])
async def test_headers_without_an_end(start: bytes) -> None:
    """Path or headers that go on and on are refused with 431."""
    async with connected(LimitedHttp) as (reader, writer):
        writer.write(start + b"x" * MAX_HEADER_BYTES)
        assert (await reader.readline()).startswith((b"HTTP/1.1 431", b"HTTP/1.1 400"))


async def test_headers_at_the_limit() -> None:
    """A header as long as any token is no trouble, and a body does not count."""
    async with connected(LimitedHttp) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: edge\r\nX: %s\r\nContent-Length: 200000\r\n\r\n" % (b"x" * 60_000))
        writer.write(b"x" * 200_000)
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"


async def test_a_body_that_comes_slowly(open_edge: OpenEdge, rpc: FakeRpc) -> None:
    """A body that is not complete in time is refused, even if something of it comes all the time."""

    async def trickle() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    async with open_edge(body_seconds=0.2) as edge, asyncio.timeout(SECONDS):
        response = await edge.post("/tenant/logout", content=trickle(), headers={"Content-Type": "application/json"})

    assert (response.status_code, response.json()["code"]) == (408, "body_too_slow")
    assert response.headers["Connection"] == "close"
    assert rpc.calls == []


async def test_a_body_in_time(edge: httpx.AsyncClient) -> None:
    """A body in pieces is a body."""

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b'{"tok', b'en": ', b'"t"}'):
            yield piece

    response = await edge.post("/tenant/logout", content=pieces(), headers={"Content-Type": "application/json"})
    assert response.status_code == 200
