"""Transport whose `close` waits for a client that is still sending, so that the client can read the response."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

#: How much of an early-answered request the edge discards. A client that writes its whole request
#: before it reads gets the response if at most this much is left.
LINGER_BYTES = 8 * 1024 * 1024
#: How long the client may take for that, measured from the response.
LINGER_SECONDS = 5.0


class LingeringTransport(asyncio.Transport):
    """Wrapper of a connection's transport with a lingering close.

    Closing a socket with unread bytes resets the connection, and the client loses the unread part of
    the response (RFC 9112, 9.6). If request bytes are still expected, `close` therefore shuts down
    only the writing half. The connection ends when the client closes it, at the latest after
    LINGER_BYTES or `seconds`.
    """

    def __init__(self, transport: asyncio.Transport, unread: Callable[[], bool], seconds: float) -> None:
        super().__init__()
        self._transport = transport
        self._unread = unread
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._discarded = 0
        self._unsent: list[Any] = []

    def close(self) -> None:
        """Close the connection: at once if nothing is unread, otherwise lingering."""
        if self.is_closing():
            return
        self._send()
        if not self._unread():
            self._transport.close()
            return
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._transport.abort)
        with contextlib.suppress(OSError):  # the client reset the connection; `connection_lost` follows
            self._transport.write_eof()
        self._transport.resume_reading()

    def discard(self, size: int) -> None:
        """Count bytes that arrived after `close`."""
        self._discarded += size
        if self._discarded > LINGER_BYTES:
            self._transport.abort()

    def lost(self) -> None:
        """Cancel the timer of a connection that was lost, and forget its owner, which refers to this transport."""
        if self._timer:
            self._timer.cancel()
        self._unread = bool
        self._unsent.clear()

    def is_closing(self) -> bool:
        return self._timer is not None or self._transport.is_closing()

    def write(self, data: Any) -> None:
        """Send the data at the end of this turn of the event loop: the head of a response together with its body."""
        if self.is_closing():  # the writing half is shut down
            return
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._send)
        self._unsent.append(data)

    def abort(self) -> None:
        self._unsent.clear()
        self._transport.abort()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def _send(self) -> None:
        if self._unsent:
            data, self._unsent = self._unsent, []
            self._transport.writelines(data)
