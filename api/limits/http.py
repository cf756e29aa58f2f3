"""HTTP/1.1 protocol of the edge: finds the end of each request, and limits its bytes and its time.

| part of a request | max. size | max. time | if larger; if slower |
|---|---|---|---|
| path and headers | MAX_HEADER_BYTES | HEADER_SECONDS | 431; closed without a response |
| body | `max_body_bytes` | `body_seconds` after the headers | 413; 408 |
| chunk sizes, chunk extensions, trailers | MAX_FRAMING_BYTES | as the body | 413; 408 |
| unread rest of an answered request | LINGER_BYTES | LINGER_SECONDS | closed |
| requests behind an unanswered one | what one or two reads of the socket bring (256 KiB each) | | reading pauses |

Uvicorn limits none of these. Its parser, httptools, reports trailers as headers and ends a request at `Upgrade`.
"""

import asyncio
import logging
import uuid
from enum import Enum, auto
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.errors import BROKEN_BODY, EdgeCode, problem, problem_response
from api.limits.lingering import LINGER_SECONDS, LingeringTransport
from api.metrics import EdgeMetrics
from shared.contracts.errors import ErrorCode
from shared.process.logging import request_id

log = logging.getLogger(__name__)

#: Several times the longest token, which is the longest valid header value.
MAX_HEADER_BYTES = 65_536
#: Measured to the end of the headers, from the connection or from the first byte of a later request on it.
HEADER_SECONDS = 10.0
#: The framing of 13,000 chunks of one byte. Clients of a JSON service send no trailers.
MAX_FRAMING_BYTES = 65_536
#: Framing that each piece of a chunked body counts as, besides its bytes: it costs the parser as much as a small chunk.
#: An empty line ends a piece, also inside a chunk; JSON has none.
PIECE_BYTES = 16
#: End of the headers and of every chunked body: the parser rejects lines that end in LF alone.
EMPTY_LINE = b"\r\n\r\n"

TOO_LARGE = EdgeCode.HEADERS_TOO_LARGE, f"path and headers must not exceed {MAX_HEADER_BYTES} bytes"
#: RFC 9112, 3.2. Without exactly one, a proxy and this edge might choose different sites.
ONE_HOST = ErrorCode.BAD_REQUEST, "exactly one Host header is required"
#: RFC 9112, 6.1. A proxy that ignores or decodes a transfer coding would see another end of the body.
CHUNKED_ALONE = ErrorCode.BAD_REQUEST, "Transfer-Encoding must be chunked, given once, and only in HTTP/1.1"
#: The parser also accepts HTTP/0.9 and HTTP/2.0 in a request line.
VERSION = ErrorCode.BAD_REQUEST, "the HTTP version must be 1.1 or 1.0"
#: RFC 9110, 9.3.6. The bytes after a CONNECT belong to a tunnel, not to a request.
NO_TUNNEL = ErrorCode.BAD_REQUEST, "CONNECT is not supported"
NOT_HTTP = ErrorCode.BAD_REQUEST, "request is not well-formed HTTP"


class _Part(Enum):
    """The part of a request that the next bytes of a connection belong to."""

    HEAD = auto()
    """Path and headers of the next request."""
    BODY = auto()
    """The body of the current request, with its framing."""
    NEXT = auto()
    """A later request: the current one is complete, but not yet answered."""


class LimitedHttp(HttpToolsProtocol):
    """Uvicorn's HTTP protocol with limits and with a reliable end of each request.

    - Requests are read one at a time: the parser never sees a request before the previous one was answered.
      Each piece that it gets ends with headers or with a request.
    - Trailers are parsed and dropped.
    - `Upgrade` is ignored, as RFC 9110, 7.8 permits. A second parser reads the body of such a request.
    - A response that begins before its request was read completely says `Connection: close`.

    A request refused before its body never reaches the application, so this class writes its problem
    document, its log line and its count. Errors in a body are raised by `receive`; the application answers them.
    """

    header_seconds = HEADER_SECONDS
    linger_seconds = LINGER_SECONDS
    #: Defaults of the settings; `limited_http` replaces them.
    body_seconds = 10.0
    max_body_bytes = 131_072

    transport: LingeringTransport

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._application: Any = self.app
        self.app = self._serve
        # This class decides where a connection ends: the parser would drop everything after `Connection: close`,
        # even a trailer.
        self.parser.set_dangerous_leniencies(lenient_keep_alive=True, lenient_data_after_close=False)
        self._timer: asyncio.TimerHandle | None = None
        self._timed: _Part | None = None
        #: Bytes of later requests.
        self._waiting = b""
        self._expect_request()

    def _expect_request(self) -> None:
        self._part = _Part.HEAD
        self._head_bytes = 0
        #: The last parsed bytes, which may be the start of an empty line.
        self._seam = b""
        #: The announced length of the body; None if it is chunked.
        self._length: int | None = 0
        #: Bytes after the headers, and how many of them are the decoded body.
        self._framed_bytes = 0
        self._body_bytes = 0
        self._body_parser: HttpRequestParser | None = None
        #: Whether the connection stays open, provided that the request is read completely before it is answered.
        self._keep_alive = False
        self._refusal: HTTPException | None = None

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        lingering = LingeringTransport(transport, self._is_unread, self.linger_seconds)  # type: ignore[arg-type]  # TCP
        super().connection_made(lingering)
        self._start_timer(_Part.HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        self._start_timer(None)
        self.transport.lost()
        super().connection_lost(exc)
        # These refer to this object. The garbage collector runs rarely (shared/process/garbage.py), and would leave
        # thousands of dead connections in memory until then.
        self.app = self._application
        self._body_parser = None
        self._waiting = b""

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            self.transport.discard(len(data))
        elif self._refusal is None:  # otherwise the response is on its way
            data = self._waiting + data
            if self._part is _Part.HEAD and not self._head_bytes:
                data = data.lstrip(b"\r\n")  # RFC 9112, 2.2: some clients send an empty line after a body
                self._waiting = b""
                if not data:
                    return
            self._unset_keepalive_if_required()
            self._read(data)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            return
        # The connection is open, so the request was read completely.
        self._expect_request()
        if self._waiting:
            self.data_received(b"")

    def shutdown(self) -> None:
        self._keep_alive = False
        super().shutdown()

    def _is_unread(self) -> bool:
        """Return whether the client may still be sending a request, rather than keeping the connection idle."""
        return self._head_bytes > 0 or self._part is _Part.BODY or bool(self._waiting)

    # Pieces for the parser

    def _read(self, data: bytes) -> None:
        start, size = 0, len(data)
        while start < size and self._part is not _Part.NEXT:
            end = self._end_of_piece(data, start)
            if not self.parse_piece(data[start:end]):
                return
            start = end
        self._waiting = data[start:]
        if self._waiting:
            self.flow.pause_reading()
        # Most requests arrive in one read and need no timer.
        is_idle = self._part is _Part.NEXT or (self._part is _Part.HEAD and not self._head_bytes)
        self._start_timer(None if is_idle else self._part)

    def _end_of_piece(self, data: bytes, start: int) -> int:
        """Return the position after `start` where headers or a request end, or else the end of the data."""
        if self._part is _Part.BODY and self._length is not None:
            return min(len(data), start + self._length - self._body_bytes)
        if self._seam:
            before = len(self._seam)
            found = (self._seam + data[start : start + len(EMPTY_LINE) - 1]).find(EMPTY_LINE)
            if found >= 0:
                return start + found + len(EMPTY_LINE) - before
        found = data.find(EMPTY_LINE, start)
        return len(data) if found < 0 else found + len(EMPTY_LINE)

    def parse_piece(self, piece: bytes) -> bool:
        """Parse this piece and return whether to read on."""
        self._seam = (self._seam + piece[1 - len(EMPTY_LINE) :])[1 - len(EMPTY_LINE) :]
        if self._part is _Part.HEAD:
            self._head_bytes += len(piece)
            if self._head_bytes > MAX_HEADER_BYTES:
                self._refuse(*TOO_LARGE)
                return False
        else:
            self._framed_bytes += len(piece) if self._length is not None else len(piece) + PIECE_BYTES
        try:
            (self._body_parser or self.parser).feed_data(piece)
        except HttpParserUpgrade:
            pass  # handled by `on_message_complete`
        except HttpParserError:
            if self._part is _Part.HEAD:
                self._refuse(*NOT_HTTP)
            else:
                self._refuse_body(HTTPException(400, BROKEN_BODY))
        if self._framed_bytes - self._body_bytes > MAX_FRAMING_BYTES:
            self._refuse_body(HTTPException(413))
        return self._refusal is None and not self.transport.is_closing()

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        if self._part is not _Part.HEAD:
            raise ValueError("a request began inside a piece")  # impossible unless the parser becomes more lenient
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._part is _Part.HEAD:  # otherwise it is a trailer
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if fault := self._fault():
            self._refuse(*fault)
            raise ValueError(fault)  # stops the parser
        super().on_headers_complete()
        self._part = _Part.BODY
        self._head_bytes = 0
        self._seam = b""
        self._keep_alive, self.cycle.keep_alive = self.cycle.keep_alive, False
        if self._length is not None and self._length > self.max_body_bytes:
            self._refuse_body(HTTPException(413))

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self.max_body_bytes:
            self._refuse_body(HTTPException(413))
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade() and self._body_parser is None:
            self._read_body_after_all()
        elif self._refusal is None:
            self._part = _Part.NEXT
            if not self.cycle.response_started:
                self.cycle.keep_alive = self._keep_alive
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature; its own response is plain text
        self._refuse(*NOT_HTTP)

    def _should_upgrade_to_ws(self) -> bool:
        return False

    def _read_body_after_all(self) -> None:
        """Start a second parser for the body: httptools ends a request with `Upgrade` at its headers."""
        self._body_parser = parser = HttpRequestParser(_OnlyBody(self))
        framing = b"Transfer-Encoding: chunked" if self._length is None else b"Content-Length: %d" % self._length
        parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + EMPTY_LINE)

    def _fault(self) -> tuple[ErrorCode | EdgeCode, str] | None:
        """Return the fault of the complete headers, if any, and store the length of the body."""
        version = self.parser.get_http_version()
        hosts, codings = 0, []
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
            elif name == b"content-length":
                self._length = int(value)  # the parser rejects anything else
            elif name == b"transfer-encoding":
                codings.append(value.strip().lower())
                self._length = None
        if version not in {"1.1", "1.0"}:
            return VERSION
        if codings and (codings != [b"chunked"] or version != "1.1"):
            return CHUNKED_ALONE
        if hosts > 1 or (hosts == 0 and version == "1.1"):
            return ONE_HOST
        return NO_TUNNEL if self.parser.get_method() == b"CONNECT" else None

    # The application

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        cycle = self.cycle

        def refuse_body() -> None:
            if self._refusal and not cycle.response_started:
                raise self._refusal

        async def receive_within_limits() -> Message:
            refuse_body()  # before uvicorn sends 100 Continue
            message = await receive()
            refuse_body()
            return message

        await self._application(scope, receive_within_limits, send)

    # Refusals

    def _start_timer(self, part: _Part | None) -> None:
        """Start the timer of this part unless it already runs; None stops the timer."""
        if part is self._timed:
            return
        if self._timer:
            self._timer.cancel()
        self._timed = part
        if part:
            seconds = self.header_seconds if part is _Part.HEAD else self.body_seconds
            self._timer = self.loop.call_later(seconds, self._time_is_up)

    def _time_is_up(self) -> None:
        if self.transport.is_closing():
            return  # the lingering close has its own time limit
        if self._part is _Part.BODY:
            self._refuse_body(HTTPException(408))
        else:
            self.transport.abort()

    def _refuse_body(self, refusal: HTTPException) -> None:
        """Raise this at the application's next `receive`, and stop reading."""
        self._refusal = self._refusal or refusal
        self.flow.pause_reading()
        if self.cycle.response_started:
            self.transport.abort()  # too late for an error response
        else:
            self.cycle.message_event.set()

    def _refuse(self, code: ErrorCode | EdgeCode, text: str) -> None:
        """Answer in place of the application and close the connection; do nothing if it is already closing."""
        if self.transport.is_closing():
            return
        identifier = uuid.uuid4().hex
        token = request_id.set(identifier)
        response = problem_response(
            problem(code, text), {"X-Request-ID": identifier, "Cache-Control": "no-store", "Connection": "close"}
        )
        request_id.reset(token)
        headers = b"".join(b"%s: %s\r\n" % header for header in response.raw_headers)
        self.transport.write(STATUS_LINE[response.status_code] + headers + b"\r\n" + bytes(response.body))
        self.transport.close()
        metrics: EdgeMetrics | None = self.app_state.get("metrics")
        if metrics:
            metrics.refused(response.status_code)
        log.info("request", extra={"status": response.status_code, "code": code, "request_id": identifier})


class _OnlyBody:
    """Callbacks of a parser that reads only a body."""

    def __init__(self, http: LimitedHttp) -> None:
        self.on_body = http.on_body
        self.on_message_complete = http.on_message_complete


def limited_http(max_body_bytes: int, body_seconds: float) -> type[LimitedHttp]:
    """Return a protocol class with these limits."""

    class ConfiguredHttp(LimitedHttp):
        pass

    ConfiguredHttp.max_body_bytes = max_body_bytes
    ConfiguredHttp.body_seconds = body_seconds
    return ConfiguredHttp
