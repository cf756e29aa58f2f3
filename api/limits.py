"""How long a client may take to make its request, how much of it may stand before the body, and what is no request.

Uvicorn waits for ever for a request that has begun, reads headers of any size, and does without a `Host`.
"""

import asyncio
import logging
import uuid
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.errors import EdgeCode, problem, problem_response
from api.metrics import EdgeMetrics
from shared.contracts.errors import ErrorCode
from shared.logging import request_id

log = logging.getLogger(__name__)

#: Several times a token of the greatest size, which is the longest that a header holds.
MAX_HEADER_BYTES = 65_536
#: From the connection, or from the first byte of a further request on it, to the end of the headers.
HEADER_SECONDS = 10.0

TOO_LARGE = EdgeCode.HEADERS_TOO_LARGE, f"path and headers are longer than {MAX_HEADER_BYTES} bytes"
#: RFC 9112, 3.2. With none or two, a proxy in front and who reads this might take the request for different sites'.
ONE_HOST = ErrorCode.BAD_REQUEST, "one Host header is expected"
NOT_HTTP = ErrorCode.BAD_REQUEST, "request is not well-formed HTTP"


class BodyTimeLimit:
    """Answers 408 when a body is not there in time, counted from the headers: a byte now and then does not help."""

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self.app = app
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        deadline = asyncio.get_running_loop().time() + self.seconds
        complete = False

        async def receive_in_time() -> Message:
            nonlocal complete
            if complete:  # whoever asks now waits for the client to go away
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408) from None
            complete = not message.get("more_body", False)
            return message

        await self.app(scope, receive_in_time, send)


class LimitedHttp(HttpToolsProtocol):
    """Uvicorn's HTTP, which closes a connection whose headers take too long, and refuses those that are too long.

    The application never hears of a request that is refused here. So its problem document, its line in the log and its
    count are made here, too.
    """

    header_seconds = HEADER_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_headers = True
        self._header_bytes = 0
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn wants what it is given
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes > MAX_HEADER_BYTES:
            self._refuse(*TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if not self._in_headers:  # a further request on this connection
            self._expect_headers()

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._stop_timer()
        if fault := self._fault():
            self._refuse(*fault)
            raise ValueError  # which stops the parser: there is nobody to give a body to
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the signature of uvicorn's, which is plain text
        self._refuse(*NOT_HTTP)

    def _fault(self) -> tuple[ErrorCode | EdgeCode, str] | None:
        """What is wrong with headers that are complete."""
        # What came in one read with their end was not counted by then: it may be a body.
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEADER_BYTES:
            return TOO_LARGE
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            return ONE_HOST
        return None

    def _expect_headers(self) -> None:
        self._in_headers = True
        self._header_bytes = 0
        self._stop_timer()
        self._header_timer = self.loop.call_later(self.header_seconds, self._give_up)

    def _give_up(self) -> None:
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._header_timer:
            self._header_timer.cancel()
            self._header_timer = None

    def _refuse(self, code: ErrorCode | EdgeCode, text: str) -> None:
        """Answers, unless that has been done, and closes the connection."""
        if self.transport.is_closing():
            return
        # Otherwise an earlier request has no answer yet, or a part of it: this would be taken for that.
        if self.cycle is None or self.cycle.response_complete or self._in_body():
            self._answer(code, text)
        self.transport.close()

    def _in_body(self) -> bool:
        """Whether what comes belongs to the request that is worked on, and nothing of its answer was sent."""
        return self.cycle.more_body and not self.cycle.response_started and not self.pipeline

    def _answer(self, code: ErrorCode | EdgeCode, text: str) -> None:
        identifier = uuid.uuid4().hex
        token = request_id.set(identifier)
        response = problem_response(
            problem(code, text), {"X-Request-ID": identifier, "Cache-Control": "no-store", "Connection": "close"}
        )
        request_id.reset(token)
        headers = b"".join(b"%s: %s\r\n" % header for header in response.raw_headers)
        self.transport.write(STATUS_LINE[response.status_code] + headers + b"\r\n" + bytes(response.body))
        metrics: EdgeMetrics | None = self.app_state.get("metrics")
        if metrics:
            metrics.refused(response.status_code)
        log.info("request", extra={"status": response.status_code, "code": code, "request_id": identifier})
