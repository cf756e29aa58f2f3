"""Leaves out message properties that are too large or impossible to decode.

RabbitMQ checks hardly any property. The AMQP library decodes a header table in time that grows with
the square of its size: 170 ms of the event loop for 125 KB, and some MB of memory for as long as the
request waits. It closes the connection at an unreadable property (text that is not UTF-8, a time
beyond the year 9999, deep nesting), and the broker delivers the message to the next worker. Read
without properties, the message is a bad request without a reply address, which is acknowledged.
"""

import logging
import struct
import time

from pamqp.commands import Basic
from pamqp.header import ContentHeader

log = logging.getLogger(__name__)

#: Maximum size of the frame that holds a message's properties and headers. Our largest request takes
#: less than half of it; the worst frame of this size takes a millisecond to decode.
MAX_PROPERTIES_BYTES = 4096
#: Time between two log lines, so that a sender of such messages does not fill the log.
LOG_PAUSE_SECONDS = 60.0


class _LeftOut:
    """Counts requests whose properties were left out, and logs them at most once a minute."""

    def __init__(self) -> None:
        self._count = 0
        self._logged_at = float("-inf")

    def add(self, error: str) -> None:
        """Count one. `error` is what was wrong with it, without its content."""
        self._count += 1
        now = time.monotonic()
        if now - self._logged_at >= LOG_PAUSE_SECONDS:
            log.warning("properties of requests cannot be read", extra={"requests": self._count, "last_error": error})
            self._count, self._logged_at = 0, now


def tolerate_unreadable_properties() -> None:
    """Patch the AMQP library to read unreadable properties as empty. It has no hook for this."""
    read = ContentHeader.unmarshal
    left_out = _LeftOut()

    def read_or_leave_out(header: ContentHeader, data: bytes) -> None:
        if len(data) > MAX_PROPERTIES_BYTES:
            header.class_id, header.weight, header.body_size = struct.unpack(">HHQ", data[:12])
            left_out.add(f"more than {MAX_PROPERTIES_BYTES} bytes")
            return
        try:
            read(header, data)
        except Exception as error:  # noqa: BLE001 - any error would close the connection
            # The body size has been read by then, and the library needs nothing else to continue.
            header.properties = Basic.Properties()
            # Only the type is logged: the error's text may quote the message.
            left_out.add(type(error).__name__)

    ContentHeader.unmarshal = read_or_leave_out  # type: ignore[method-assign, assignment]
