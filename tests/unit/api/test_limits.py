"""Clients that are slow, send without end, or speak no HTTP, as raw bytes on a real socket."""

import asyncio
import contextlib
import gc
import http.client
import json
import logging
import weakref
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from api.limits.http import MAX_FRAMING_BYTES, MAX_HEADER_BYTES, PIECE_BYTES, LimitedHttp
from api.limits.lingering import LINGER_BYTES, LingeringTransport
from api.metrics import EdgeMetrics
from tests.unit.api.conftest import ServeEdge
from tests.unit.api.fake_rpc import FakeRpc
from tests.unit.api.served import SECONDS, Listener, answers, connected, dialed, refusing, served

#: An upper bound for what the buffers of two sockets hold on any machine.
BUFFERED_BYTES = 16 * 1024 * 1024


class ShortTimeouts(LimitedHttp):
    """An HTTP class with short timeouts, so that a test can wait for them."""

    header_seconds = 0.2
    body_seconds = 0.2
    linger_seconds = 0.2


async def _app(_: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


@pytest.mark.parametrize("begun", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: edge\r\n", b"GET / HTTP/1.1\r\nX: "])
async def test_incomplete_headers_close_the_connection_after_the_timeout(begun: bytes) -> None:
    async with connected(_app, ShortTimeouts) as (reader, writer):
        writer.write(begun)
        assert await reader.read() == b""


class Written(asyncio.Transport):
    """A transport that records what is written to it at once."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.writes.append(data)

    def writelines(self, list_of_data: Any) -> None:
        self.writes.append(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


async def test_head_and_body_of_a_response_are_written_at_once() -> None:
    """Each write is a system call of the edge, and wakes the client."""
    written = Written()
    transport = LingeringTransport(written, unread=bool, seconds=SECONDS)
    for _ in range(2):
        transport.write(b"head ")
        transport.write(b"body")
        await asyncio.sleep(0)
    assert written.writes == [b"head body"] * 2


async def test_response_before_a_close_is_written_and_nothing_after_an_abort() -> None:
    closed, aborted = Written(), Written()
    for written, end in ((closed, LingeringTransport.close), (aborted, LingeringTransport.abort)):
        transport = LingeringTransport(written, unread=bool, seconds=SECONDS)
        transport.write(b"response")
        end(transport)
        transport.write(b"too late")
        await asyncio.sleep(0)
        assert written.closed
    assert (closed.writes, aborted.writes) == ([b"response"], [])


async def test_head_of_a_stream_is_sent_before_its_body() -> None:
    begin = asyncio.Event()

    async def app(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await begin.wait()
        await send({"type": "http.response.body", "body": b"body"})

    async with connected(app) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        begin.set()
        assert await reader.readexactly(4) == b"body"


async def test_slow_headers_close_the_connection_after_the_timeout() -> None:
    """The limit is on the whole head, so single bytes do not extend it."""
    async with connected(_app, ShortTimeouts) as (reader, writer):

        async def trickle() -> None:
            writer.write(b"GET / HTTP/1.1\r\nX: ")
            while True:
                writer.write(b"x")
                await asyncio.sleep(0.01)

        trickling = asyncio.create_task(trickle())
        # A byte in transit when the edge closes is answered with a reset.
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        trickling.cancel()


async def test_second_request_with_incomplete_headers_has_its_own_timeout() -> None:
    """The idle time before it does not count."""
    async with connected(_app, ShortTimeouts) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        assert await reader.read() == b""


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100])
async def test_endless_path_or_headers_are_refused(start: bytes) -> None:
    """The status is 431, or 400 where the parser stops first."""
    async with connected(_app) as (reader, writer):
        writer.write(start + b"x" * MAX_HEADER_BYTES)
        assert (await reader.readline()).startswith((b"HTTP/1.1 431", b"HTTP/1.1 400"))


@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n"])
@pytest.mark.parametrize("part", [b"/%s HTTP/1.1\r\nHost: edge\r\n\r\n", b"/ HTTP/1.1\r\nHost: edge\r\nX: %s\r\n\r\n"])
async def test_complete_headers_over_the_limit_are_answered_431(before: bytes, part: bytes) -> None:
    """This holds for a single write, and for new and reused connections."""
    async with connected(_app) as (reader, writer):
        if before:
            writer.write(before)
            await reader.readuntil(b"\r\n\r\n")
        writer.write(b"GET " + part % (b"x" * MAX_HEADER_BYTES))
        status, _, document = await _refusal(reader)
    assert (status, document["code"]) == (431, "headers_too_large")


async def _refusal(reader: asyncio.StreamReader) -> tuple[int, httpx.Headers, dict[str, Any]]:
    """Return status, headers and body of the last response of a connection."""
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    headers = httpx.Headers([(name, value) for name, _, value in (field.partition(": ") for field in fields)])
    assert int(headers["Content-Length"]) == len(body)
    return int(line.split()[1]), headers, json.loads(body)


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"x" * (MAX_HEADER_BYTES + 1), 431, "headers_too_large"),
        (b"nonsense\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: edge\r\nContent-Length: secret\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nX-Secret: 1\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: secret\r\n\r\n", 400, "bad_request"),
    ],
)
async def test_request_refused_by_the_parser_is_answered_logged_and_counted(
    caplog: pytest.LogCaptureFixture, sent: bytes, status: int, code: str
) -> None:
    """Response and log line carry the same request id."""
    caplog.set_level(logging.INFO)
    metrics = EdgeMetrics()
    async with connected(_app, state={"metrics": metrics}) as (reader, writer):
        writer.write(sent)
        answered, headers, document = await _refusal(reader)

    assert (answered, document["status"], document["code"]) == (status, status, code)
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Connection"] == "close"
    [line] = [vars(record) for record in caplog.records if record.name == "api.limits.http"]
    assert (line["msg"], line["status"], line["code"]) == ("request", status, code)
    assert headers["X-Request-ID"] == document["requestId"] == line["request_id"]
    assert "secret" not in f"{document}{line}".lower()
    labels = {"method": "other", "route": "other", "status": str(status)}
    assert metrics.registry.get_sample_value("jincor_auth_edge_requests_total", labels) == 1


async def test_http_1_0_request_without_host_is_accepted() -> None:
    """Load balancers send such health checks; RFC 9112, 3.2 requires `Host` only in HTTP/1.1."""
    async with connected(_app) as (reader, writer):
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"


GOOD = b"GET /nowhere HTTP/1.1\r\nHost: edge\r\n\r\n"
NONSENSE = b"nonsense\r\n\r\n"
BEHIND = {
    "nonsense": (NONSENSE, [200, 400]),
    "a request and nonsense": (GOOD + NONSENSE, [200, 200, 400]),
    "a request without a Host": (b"GET / HTTP/1.1\r\n\r\n" + GOOD, [200, 400]),
}


@pytest.mark.parametrize(("after", "statuses"), BEHIND.values(), ids=BEHIND)
@pytest.mark.parametrize("begun", [True, False])
async def test_refusal_of_a_pipelined_request_comes_after_the_earlier_response(
    after: bytes, statuses: list[int], *, begun: bool
) -> None:
    handling, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Scope, __: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]}
        if begun:
            await send(start)
            await send({"type": "http.response.body", "body": b"be", "more_body": True})
        handling.set()
        await go_on.wait()
        if not begun:
            await send(start)
        await send({"type": "http.response.body", "body": b"en" if begun else b"been"})

    async with connected(slow) as (reader, writer):
        writer.write(GOOD)
        await handling.wait()
        writer.write(after)
        await asyncio.sleep(0.05)  # whether or not the edge has read it by then, the responses are the same
        go_on.set()
        assert await answers(reader) == statuses


async def test_headers_of_60_kilobytes_with_a_large_body_are_accepted() -> None:
    """A header can hold the longest token, and the body does not count."""
    async with connected(_app) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: edge\r\nX: %s\r\nContent-Length: 100000\r\n\r\n" % (b"x" * 60_000))
        writer.write(b"x" * 100_000)
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"


CHUNKED = (
    b"POST /tenant/logout HTTP/1.1\r\nHost: edge\r\n"
    b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)
TOO_MUCH = LINGER_BYTES + BUFFERED_BYTES
PIECES = {
    "trailers": (b"0\r\n", b"a:\r\n"),
    "one trailer": (b"0\r\na: ", b"b"),
    "a trailer's name": (b"0\r\n", b"a"),
    "extensions": (b"", b"1;a=b;c=d;e=f\r\nx\r\n"),
    "one extension": (b"1;", b"a"),
    "chunks of one byte": (b"", b"1\r\nx\r\n"),
    "chunks": (b"", b"1000\r\n" + b"x" * 4096 + b"\r\n"),
    "a chunk": (b"fffffff\r\n", b"x"),
}


async def _flood(writer: asyncio.StreamWriter, piece: bytes) -> int:
    """Write the piece repeatedly; return the number of bytes that the server accepted before it closed."""
    block = piece * (65_536 // len(piece))
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < TOO_MUCH and not writer.is_closing():
            writer.write(block)
            await writer.drain()
            sent += len(block)
    return sent


@pytest.mark.parametrize(("start", "piece"), PIECES.values(), ids=PIECES)
async def test_endless_body_after_an_early_response_is_cut_off(start: bytes, piece: bytes) -> None:
    """The edge reads a bounded part and keeps none of it."""
    async with connected(refusing) as (reader, writer):
        writer.write(CHUNKED + start)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 404")
        assert b"connection: close" in head
        assert await _flood(writer, piece) < TOO_MUCH


@pytest.mark.parametrize(("start", "piece"), PIECES.values(), ids=PIECES)
async def test_endless_body_is_answered_413(serve_edge: ServeEdge, rpc: FakeRpc, start: bytes, piece: bytes) -> None:
    """The framing counts too, so that small chunks and trailers cannot exceed the limit of a body."""
    async with serve_edge() as port, dialed(port) as (reader, writer):
        writer.write(CHUNKED + start)
        flood = asyncio.create_task(_flood(writer, piece))
        assert (await reader.readline()).startswith(b"HTTP/1.1 413")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"connection: close" in head
        assert await flood < TOO_MUCH
    assert rpc.calls == []


async def test_body_in_chunks_of_one_byte_with_trailers_is_accepted() -> None:
    app = Listener()
    chunks = b"1\r\nx\r\n" * (MAX_FRAMING_BYTES // 6)
    async with connected(app) as (reader, writer):
        writer.write(CHUNKED + chunks + b"0\r\nA: b\r\n\r\n" + GOOD.replace(b"GET", b"HEAD"))
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        await reader.readuntil(b"\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    assert app.heard[0].body == b"x" * (MAX_FRAMING_BYTES // 6)


async def _drip(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while not writer.is_closing():
            writer.write(b"1\r\n \r\n")
            await writer.drain()
            await asyncio.sleep(0.01)


async def test_slow_body_is_answered_408(serve_edge: ServeEdge, rpc: FakeRpc) -> None:
    """Single bytes do not extend the timeout."""
    async with serve_edge(body_seconds=0.2) as port, dialed(port) as (reader, writer):
        writer.write(CHUNKED)
        dripping = asyncio.create_task(_drip(writer))
        head = await reader.readuntil(b"\r\n\r\n")
        dripping.cancel()
    assert head.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in head
    assert rpc.calls == []


async def test_slow_body_after_an_early_response_is_cut_off() -> None:
    async with connected(refusing, ShortTimeouts) as (reader, writer):
        writer.write(CHUNKED)
        assert (await reader.readline()).startswith(b"HTTP/1.1 404")
        await _drip(writer)


async def test_slow_body_during_the_response_disconnects_the_client() -> None:
    """An event stream, for example, starts before its request ends; a status is no longer possible."""
    disconnected = asyncio.Event()

    async def streaming(_: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        disconnected.set()

    async with connected(streaming, ShortTimeouts) as (_, writer):
        writer.write(CHUNKED)
        await _drip(writer)
        await disconnected.wait()


async def test_body_in_several_writes_is_accepted_and_the_connection_reused(serve_edge: ServeEdge) -> None:
    async with serve_edge() as port, dialed(port) as (reader, writer):
        for piece in (CHUNKED, b'5\r\n{"tok\r', b'\n8\r\nen": "t"\r\n1\r\n}\r\n', b"0\r\n\r", b"\n" + GOOD):
            writer.write(piece)
            await asyncio.sleep(0.01)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        await reader.readuntil(b"HTTP/1.1 404")


@pytest.mark.parametrize("length", [87, 88])
@pytest.mark.parametrize("chunked", [True, False])
async def test_body_over_the_limit_is_answered_413_in_any_framing(
    serve_edge: ServeEdge, rpc: FakeRpc, length: int, *, chunked: bool
) -> None:
    """Only the body counts, not its framing."""
    body = b'{"token": "%s"}' % (b"t" * length)
    headers = {"Content-Type": "application/json"}
    async with serve_edge(max_body_bytes=100) as port, httpx.AsyncClient() as client:

        async def pieces() -> Any:
            for position in range(0, len(body), 40):
                yield body[position : position + 40]

        content = pieces() if chunked else body
        response = await client.post(f"http://127.0.0.1:{port}/tenant/logout", content=content, headers=headers)
    if length == 87:
        assert response.status_code == 200
        assert len(rpc.calls) == 1
    else:
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
        assert rpc.calls == []


async def test_malformed_chunked_body_is_answered_400_once(serve_edge: ServeEdge, rpc: FakeRpc) -> None:
    async with serve_edge() as port, dialed(port) as (reader, writer):
        writer.write(CHUNKED + b"x\r\n\r\n")
        status, headers, document = await _refusal(reader)
    assert (status, document["code"], document["detail"]) == (400, "bad_request", "body is not well-formed HTTP")
    assert headers["Connection"] == "close"
    assert rpc.calls == []


async def test_expect_continue_with_a_body_over_the_limit_is_answered_413(serve_edge: ServeEdge) -> None:
    """The connection closes, because the edge cannot know whether the client still sends the body."""
    async with serve_edge(max_body_bytes=100) as port, dialed(port) as (reader, writer):
        writer.write(CHUNKED.replace(b"Transfer-Encoding: chunked", b"Expect: 100-continue\r\nContent-Length: 101"))
        status, headers, _ = await _refusal(reader)
    assert (status, headers["Connection"]) == (413, "close")


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
async def test_early_refusal_reaches_a_client_that_writes_its_whole_body_first(
    serve_edge: ServeEdge, connection: str
) -> None:
    """Python's client and most others read the response only then."""
    headers = {"Content-Type": "application/json", "Connection": connection}

    def statuses(port: int) -> set[int]:
        heard = set()
        for _ in range(30):
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
            client.request("POST", "/tenant/logout", b"x" * 2_000_000, headers)
            heard.add(client.getresponse().status)
            client.close()
        return heard

    async with serve_edge() as port:
        assert await asyncio.to_thread(statuses, port) == {413}


async def test_silent_client_after_an_early_response_is_disconnected() -> None:
    """The edge closes its half at once, and the rest after the linger time."""
    gone = asyncio.Event()

    class Watched(ShortTimeouts):
        def connection_lost(self, exc: Exception | None) -> None:
            gone.set()
            super().connection_lost(exc)

    async with connected(refusing, Watched) as (reader, writer):
        writer.write(CHUNKED)
        assert await answers(reader) == [404]
        await gone.wait()


async def test_empty_line_after_a_request_starts_the_header_timeout() -> None:
    """Some clients send one."""
    async with connected(_app, ShortTimeouts) as (reader, writer):
        writer.write(GOOD + b"\r\n")
        assert await answers(reader) == [200]


async def test_pipelined_requests_behind_an_open_stream_stop_the_reading() -> None:
    """Otherwise a client could fill the memory of the edge."""
    begun = 0

    async def waiting(_: Scope, receive: Receive, __: Send) -> None:
        nonlocal begun
        begun += 1
        await receive()
        await receive()

    async with connected(waiting) as (_, writer):
        writer.write(GOOD)
        flood = asyncio.create_task(_flood(writer, GOOD))
        done, _ = await asyncio.wait([flood], timeout=1)
        assert not done, "the edge still reads"
        assert begun == 1
        flood.cancel()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nX: ",
        b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n" * 50,
        b"POST / HTTP/1.1\r\nHost: edge\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 9\r\n\r\nbody",
    ],
    ids=["nothing", "half a head", "a request", "pipelined requests", "an upgrade and half a body"],
)
async def test_lost_connection_is_freed_without_the_garbage_collector(sent: bytes) -> None:
    """The collector runs rarely in an edge, and the unread bytes of a lost connection may be large."""
    connections: list[weakref.ref[LimitedHttp]] = []

    class Watched(LimitedHttp):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            connections.append(weakref.ref(self))

    gc.collect()
    gc.disable()
    try:
        async with served(_app, Watched) as port:
            async with dialed(port) as (_, writer):
                writer.write(sent)
                await writer.drain()
                await asyncio.sleep(0.05)  # the edge may have read it by now, or not
            async with asyncio.timeout(SECONDS):
                while not connections or any(connection() for connection in connections):  # noqa: ASYNC110 - a weakref
                    await asyncio.sleep(0.01)
    finally:
        gc.enable()


async def test_body_of_empty_lines_is_refused_after_few_parser_calls() -> None:
    """The parser ends a piece at each empty line, even within a chunk, so each piece counts as framing."""
    pieces = 0

    class Counting(LimitedHttp):
        def parse_piece(self, piece: bytes) -> bool:
            nonlocal pieces
            pieces += 1
            return super().parse_piece(piece)

    body = b"\r\n\r\n" * 32_000
    async with connected(_app, Counting) as (reader, writer):
        head = b"POST / HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        await reader.read()
    assert pieces < 2 * MAX_FRAMING_BYTES / PIECE_BYTES


async def test_empty_line_after_a_body_does_not_start_the_header_timeout() -> None:
    """Some clients send one (RFC 9112, 2.2), and their next request may start much later."""
    request = b"POST / HTTP/1.1\r\nHost: edge\r\nContent-Length: 2\r\n\r\n{}"
    async with connected(_app, ShortTimeouts) as (reader, writer):
        for _ in range(2):
            writer.write(request + b"\r\n")
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(2 * ShortTimeouts.header_seconds)
