"""A transport whose `close` lets the client read what was written to it, though the client is still sending."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

#: The edge discards so much of a request that was answered early. A client that writes all of its request before it
#: reads sees the answer if no more than this is left.
LINGER_BYTES = 8 * 1024 * 1024
#: How long the client may take for that, counted from the answer.
LINGER_SECONDS = 5.0


class LingeringTransport(asyncio.Transport):
    """Wraps the transport of a connection.

    A socket that is closed with unread bytes resets its connection, and the reset discards what the client has not yet
    read of the answer (RFC 9112, 9.6). So where bytes of a request are still expected, `close` shuts down the writing
    half alone, and the connection ends when the client closes it, at the latest after LINGER_BYTES or these seconds.
    """

    def __init__(self, transport: asyncio.Transport, unread: Callable[[], bool], seconds: float) -> None:
        super().__init__()
        self._transport = transport
        self._unread = unread
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._discarded = 0

    def close(self) -> None:
        """Close the connection, now or when the client has had its chance to read."""
        if self.is_closing():
            return
        if not self._unread():
            self._transport.close()
            return
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._transport.abort)
        with contextlib.suppress(OSError):  # the client has reset the connection: the transport hears of it next
            self._transport.write_eof()
        self._transport.resume_reading()

    def discard(self, size: int) -> None:
        """Count bytes that arrived after `close`."""
        self._discarded += size
        if self._discarded > LINGER_BYTES:
            self._transport.abort()

    def lost(self) -> None:
        """Forget the timer of a connection that has ended."""
        if self._timer:
            self._timer.cancel()

    def is_closing(self) -> bool:
        return self._timer is not None or self._transport.is_closing()

    def write(self, data: Any) -> None:
        if self._timer is None:  # nothing can follow the end of what was written
            self._transport.write(data)

    def abort(self) -> None:
        self._transport.abort()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)
