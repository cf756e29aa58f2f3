"""Request framing: the edge refuses or ignores everything that a proxy in front of it may read differently.

The tests write raw bytes to a real socket; an application behind the edge records what arrived.
"""

import asyncio
import itertools
from typing import NamedTuple

import pytest
from starlette.types import Receive, Scope, Send

from tests.unit.api.served import SECONDS, Listener, answers, connected

HEAD = b"POST /first HTTP/1.1\r\nHost: edge\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n"
#: A second request on the connection, which closes it.
LAST = b"GET /last HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n"
#: A request hidden in a body.
SMUGGLED = b"DELETE /smuggled HTTP/1.1\r\nHost: edge\r\n\r\n"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)


class Arrived(NamedTuple):
    """The response statuses of a connection and the requests that the application received."""

    statuses: list[int]
    requests: list[tuple[str, bytes]]


async def said(*writes: bytes) -> Arrived:
    """Write these bytes, each write after a pause, and return the result."""
    app = Listener()
    async with connected(app) as (reader, writer):
        for write in writes:
            writer.write(write)
            await writer.drain()
            await asyncio.sleep(0.01 if len(writes) > 1 else 0)
        statuses = await answers(reader)
    return Arrived(statuses, [(request.path, request.body) for request in app.heard])


def cuts(whole: bytes, *ends: bytes) -> list[list[bytes]]:
    """Return the bytes as one write, and as several writes that end after each of these."""
    parts, rest = [], whole
    for end in ends:
        first, found, rest = rest.partition(end)
        parts.append(first + found)
    return [[whole], [*parts, rest]]


TRAILERS = [
    b"X-Forwarded-For: 10.77.1.2",
    b"Authorization: Bearer stolen",
    b"Host: other",
    b"Content-Type: text/html",
    b"Connection: Upgrade\r\nUpgrade: websocket",
    b"Connection: close",
    b"Expect: 100-continue",
    b"A: b\r\n" * 1000 + b"C: d",
]


@pytest.mark.parametrize("trailer", TRAILERS)
@pytest.mark.parametrize("cut", [False, True])
async def test_trailers_are_dropped_and_the_next_request_is_read(trailer: bytes, *, cut: bool) -> None:
    """Trailers must not become headers (RFC 9110, 6.5.1)."""
    app = Listener()
    async with connected(app) as (reader, writer):
        for write in cuts(CHUNKED + b"\r\n2\r\nok\r\n0\r\n" + trailer + b"\r\n\r\n" + LAST, b"\r\n\r\n", trailer)[cut]:
            writer.write(write)
            await asyncio.sleep(0.01)
        statuses = await answers(reader)
    assert statuses == [200, 200]
    first, last = app.heard
    assert first.headers == ((b"host", b"edge"), (b"transfer-encoding", b"chunked"))
    assert (first.body, last.path) == (b"ok", "/last")


UPGRADES = [
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n",
    b"Connection: keep-alive, upgrade\r\nUpgrade: anything\r\n",
]
FRAMED = {
    "length": b"Content-Length: %d\r\n\r\n%s" % (len(SMUGGLED), SMUGGLED),
    "chunked": b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "chunked with trailers": b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS[:-2] + b"A: b\r\n\r\n",
}


@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize("framed", FRAMED.values(), ids=FRAMED)
@pytest.mark.parametrize("cut", [False, True])
async def test_body_of_an_upgrade_request_is_read_as_a_body(upgrade: bytes, framed: bytes, *, cut: bool) -> None:
    """The edge never upgrades a connection (RFC 9110, 7.8)."""
    arrived = await said(*cuts(HEAD + upgrade + framed + LAST, b"\r\n\r\n", b"DELETE /smu")[cut])
    assert arrived == ([200, 200], [("/first", SMUGGLED), ("/last", b"")])


@pytest.mark.parametrize("upgrade", UPGRADES)
async def test_upgrade_request_without_a_body_is_read_as_a_request(upgrade: bytes) -> None:
    again = HEAD + upgrade + b"\r\n"
    arrived = await said(again + again + LAST)
    assert arrived == ([200, 200, 200], [("/first", b""), ("/first", b""), ("/last", b"")])


BODIES = {
    "length": b"Content-Length: 2\r\n\r\nok",
    "length with zeros": b"Content-Length: 002\r\n\r\nok",
    "chunked": b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "Chunked": b"transfer-encoding:  Chunked \r\n\r\n1\r\no\r\n01\r\nk\r\n000\r\n\r\n",
    "extensions": b'Transfer-Encoding: chunked\r\n\r\n2;a=b;c="d"\r\nok\r\n0;e\r\n\r\n',
}


@pytest.mark.parametrize("framed", BODIES.values(), ids=BODIES)
async def test_next_request_starts_at_the_stated_end_of_the_body(framed: bytes) -> None:
    arrived = await said(HEAD + framed + LAST)
    assert arrived == ([200, 200], [("/first", b"ok"), ("/last", b"")])


LENGTH = b"Content-Length: %d\r\n" % len(SMUGGLED)
REFUSED = {
    "both": HEAD + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both, the other way": CHUNKED + LENGTH + b"\r\n0\r\n\r\n",
    "two lengths": HEAD + LENGTH + b"Content-Length: 0\r\n\r\n",
    "one length twice": HEAD + LENGTH + LENGTH + b"\r\n",
    "a list of lengths": HEAD + b"Content-Length: 0, 0\r\n\r\n",
    "a signed length": HEAD + b"Content-Length: +0\r\n\r\n",
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "a hexadecimal length": HEAD + b"Content-Length: 0x0\r\n\r\n",
    "an empty length": HEAD + b"Content-Length: \r\n\r\n",
    "a length of 40 digits": HEAD + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n",
    "a space before the colon": HEAD + b"Content-Length : 0\r\n\r\n",
    "identity": HEAD + b"Transfer-Encoding: identity\r\n\r\n",
    "identity, chunked": HEAD + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "gzip": HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
    "gzip, chunked": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked, gzip": HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, chunked": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "an empty member": HEAD + b"Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
    "xchunked": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a quoted coding": HEAD + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "a parameter": HEAD + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "a vertical tab": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "an empty coding": HEAD + b"Transfer-Encoding: \r\n\r\n",
    "chunks of HTTP/1.0": b"POST /first HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a folded field": HEAD + b"X-Forwarded-For: 192.0.2.1\r\n ,10.77.1.2\r\n\r\n",
    "a folded length": HEAD + b"Content-Length:\r\n 0\r\n\r\n",
    "a folded coding": HEAD + b"Transfer-Encoding:\r\n\tchunked\r\n\r\n0\r\n\r\n",
    "a folded first field": b"POST /first HTTP/1.1\r\n Host: edge\r\n\r\n",
    "lines without CR": HEAD.replace(b"\r", b"") + b"\n",
    "an end without CR": HEAD + b"\n",
    "a CR alone": HEAD + b"A: b\rContent-Length: 0\r\n\r\n",
    "NUL": HEAD + b"A: \x00\r\n\r\n",
    "no field name": HEAD + b": a\r\n\r\n",
    "a field without a colon": HEAD + b"A\r\n\r\n",
    "CONNECT": b"CONNECT edge:80 HTTP/1.1\r\nHost: edge\r\n\r\n",
    "CONNECT to a URL": b"CONNECT http://edge/first HTTP/1.1\r\nHost: edge\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2 by prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version 2.0": b"POST /first HTTP/2.0\r\nHost: edge\r\n\r\n",
    "version 0.9": b"POST /first HTTP/0.9\r\nHost: edge\r\n\r\n",
    "no version": b"GET /first\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", REFUSED.values(), ids=REFUSED)
async def test_ambiguous_request_is_answered_400_and_ends_the_connection(request_bytes: bytes) -> None:
    """The application receives neither this request nor the bytes behind it."""
    arrived = await said(request_bytes + SMUGGLED + LAST)
    assert arrived == ([400], [])


BROKEN = {
    "a size that is no number": b"x\r\n",
    "a size with a prefix": b"0x2\r\nok\r\n0\r\n\r\n",
    "a signed size": b"-2\r\nok\r\n0\r\n\r\n",
    "a size of 20 digits": b"f" * 20 + b"\r\n",
    "a size without CR": b"2\nok\r\n0\r\n\r\n",
    "a chunk that is longer": b"1\r\nok\r\n0\r\n\r\n",
    "an extension over two lines": b'2;a="\r\n"\r\nok\r\n0\r\n\r\n',
    "an extension without CR": b"2;a\nok\r\n0\r\n\r\n",
    "a folded trailer": b"2\r\nok\r\n0\r\nA: b\r\n c\r\n\r\n",
    "a length as a trailer": b"2\r\nok\r\n0\r\nContent-Length: 40\r\n\r\n",
    "a coding as a trailer": b"2\r\nok\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "trailers without CR": b"2\r\nok\r\n0\r\nA: b\n\r\n",
}


@pytest.mark.parametrize("chunks", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("upgrade", [b"", UPGRADES[0]], ids=["", "upgrade"])
async def test_ambiguous_body_is_refused_and_ends_the_connection(chunks: bytes, upgrade: bytes) -> None:
    """The bytes behind it are not read as a request."""
    app = Listener()
    async with connected(app) as (reader, writer):
        writer.write(CHUNKED + upgrade + b"\r\n" + chunks + SMUGGLED + LAST)
        head = await reader.read()
    assert head.count(b"HTTP/1.1 ") == 1
    assert app.heard == []


async def test_pipelined_requests_are_handled_one_at_a_time_in_order() -> None:
    """Waiting requests use only the memory of their bytes."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    app = Listener()
    paths: list[str] = []

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        paths.append(scope["path"])
        begun.set()
        await go_on.wait()
        await app(scope, receive, send)

    async with connected(slow) as (reader, writer):
        writer.write(HEAD + b"\r\n" + (HEAD + UPGRADES[0] + b"Content-Length: 2\r\n\r\nok") * 100 + LAST)
        await begun.wait()
        await asyncio.sleep(0.05)
        assert paths == ["/first"]
        go_on.set()
        assert await answers(reader) == [200] * 102
    assert [request.body for request in app.heard] == [b"", *[b"ok"] * 100, b""]
    assert paths == ["/first"] * 101 + ["/last"]


async def test_bytes_behind_a_request_with_connection_close_are_ignored() -> None:
    assert await said(LAST + SMUGGLED) == ([200], [("/last", b"")])


async def test_expect_continue_is_answered_100_and_the_connection_reused() -> None:
    """RFC 9110, 10.1.1."""
    app = Listener()
    async with connected(app) as (reader, writer):
        writer.write(HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok" + LAST)
        assert await answers(reader) == [200, 200]
    assert [request.body for request in app.heard] == [b"ok", b""]


async def test_requests_in_single_bytes_are_read_as_in_one_write() -> None:
    """The connection holds requests of every framing."""
    kinds = itertools.product((b"", UPGRADES[0]), (*BODIES.values(), *FRAMED.values()))
    whole = b"".join(HEAD + upgrade + framed for upgrade, framed in kinds) + LAST
    expected = await said(whole)
    assert expected.statuses == [200] * (len(BODIES) + len(FRAMED)) * 2 + [200]
    app = Listener()
    async with asyncio.timeout(SECONDS), connected(app) as (reader, writer):
        for position in range(len(whole)):
            writer.write(whole[position : position + 1])
            await asyncio.sleep(0)
        assert await answers(reader) == expected.statuses
    assert [(request.path, request.body) for request in app.heard] == expected.requests
