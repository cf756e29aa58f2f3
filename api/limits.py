"""How long a client may take to make its request, and how much of it may stand before the body.

Uvicorn waits for ever for a request that has begun, and reads headers of any size.
"""

import asyncio
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Several times a token of the greatest size, which is the longest that a header holds.
MAX_HEADER_BYTES = 65_536
#: From the connection, or from the first byte of a further request on it, to the end of the headers.
HEADER_SECONDS = 10.0


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
    """Uvicorn's HTTP, which closes a connection whose headers take too long, and refuses those that are too long."""

    header_seconds = HEADER_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_headers = True
        self._header_bytes = 0
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\r\n")
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if not self._in_headers:  # a further request on this connection
            self._expect_headers()

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._stop_timer()
        super().on_headers_complete()

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
