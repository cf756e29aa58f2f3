"""Clients that take their time, do not stop, or speak no HTTP: spoken to in bytes, on a server that is uvicorn's."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from api.limits import MAX_HEADER_BYTES, LimitedHttp
from api.metrics import EdgeMetrics
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
async def connected(
    http: type[LimitedHttp] = LimitedHttp, app: ASGIApp = _app, metrics: EdgeMetrics | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a server that speaks this HTTP, and counts here."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, http=http, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    server.lifespan.state = {"metrics": metrics}
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


@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n"])
@pytest.mark.parametrize("part", [b"/%s HTTP/1.1\r\nHost: edge\r\n\r\n", b"/ HTTP/1.1\r\nHost: edge\r\nX: %s\r\n\r\n"])
async def test_headers_that_are_too_long_and_end(before: bytes, part: bytes) -> None:
    """They are refused when they end, also if all of them came at once, on a new connection and on a used one."""
    async with connected() as (reader, writer):
        if before:
            writer.write(before)
            await reader.readuntil(b"\r\n\r\n")
        writer.write(b"GET " + part % (b"x" * MAX_HEADER_BYTES))
        status, _, document = await _refusal(reader)
    assert (status, document["code"]) == (431, "headers_too_large")


async def _refusal(reader: asyncio.StreamReader) -> tuple[int, httpx.Headers, dict[str, Any]]:
    """The answer that a connection ends with."""
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    headers = httpx.Headers([(name, value) for name, _, value in (field.partition(": ") for field in fields)])
    assert int(headers["Content-Length"]) == len(body)
    return int(line.split()[1]), headers, json.loads(body)


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"x" * (MAX_HEADER_BYTES + 1), 431, "headers_too_large"),
        (b"nonsense\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: edge\r\nContent-Length: secret\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nX-Secret: 1\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: secret\r\n\r\n", 400, "bad_request"),
    ],
)
async def test_what_is_refused_before_the_application(
    caplog: pytest.LogCaptureFixture, said: bytes, status: int, code: str
) -> None:
    """Its answer is a problem document with an id, its line in the log has the same id, and it is counted."""
    caplog.set_level(logging.INFO)
    metrics = EdgeMetrics()
    async with connected(metrics=metrics) as (reader, writer):
        writer.write(said)
        answered, headers, document = await _refusal(reader)

    assert (answered, document["status"], document["code"]) == (status, status, code)
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Connection"] == "close"
    [line] = [vars(record) for record in caplog.records if record.name == "api.limits"]
    assert (line["msg"], line["status"], line["code"]) == ("request", status, code)
    assert headers["X-Request-ID"] == document["requestId"] == line["request_id"]
    assert "secret" not in f"{document}{line}".lower()
    labels = {"method": "other", "route": "other", "status": str(status)}
    assert metrics.registry.get_sample_value("jincor_auth_edge_requests_total", labels) == 1


async def test_a_request_of_http_1_0_needs_no_host() -> None:
    """As balancers ask after health (RFC 9112, 3.2 wants a `Host` of HTTP/1.1)."""
    async with connected() as (reader, writer):
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"


async def test_an_answer_under_way_is_not_spoilt() -> None:
    """Nonsense after a request whose answer has begun ends the connection, and adds nothing to the answer."""

    async def slow(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        await asyncio.sleep(SECONDS)

    async with connected(app=slow) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n1")
        writer.write(b"nonsense\r\n\r\n")
        assert await reader.read() == b"", head


GOOD = b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n"
NONSENSE = b"nonsense\r\n\r\n"


@pytest.mark.parametrize("after", [NONSENSE, GOOD + NONSENSE, b"GET / HTTP/1.1\r\n\r\n"])
@pytest.mark.parametrize("begun", [True, False])
async def test_what_follows_a_request_does_not_answer_it(after: bytes, *, begun: bool) -> None:
    """A refusal of what is piped behind it would be taken for its answer, or for a part of that."""
    go_on = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
            await send({"type": "http.response.body", "body": b"be", "more_body": True})
        await go_on.wait()
        await _app(scope, receive, send)

    async with connected(app=slow) as (reader, writer):
        writer.write(GOOD)
        if begun:
            await reader.readuntil(b"\r\n\r\nbe")
        else:
            await asyncio.sleep(0.05)  # it is worked on; were it not yet, there would be nothing to answer for it
        writer.write(after)
        rest = await reader.read()
    assert b"HTTP/1.1" not in rest


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
