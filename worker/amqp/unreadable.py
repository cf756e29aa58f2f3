"""Requests whose properties are left out: too large to decode, or impossible to decode.

RabbitMQ looks into hardly any property and delivers them as they are. The AMQP library needs time that grows with the
square of a header table's size: 170 ms of the event loop for one of 125 KB, and some MB of memory for as long as the
request waits. What it cannot decode (text that is not UTF-8, a time beyond the year 9999, endless nesting) makes it end
the connection, and the broker gives the same message to the next worker at once. Read as a message without properties
it is a bad request without a reply address, which is acknowledged.
"""

import logging
import struct
import time

from pamqp.commands import Basic
from pamqp.header import ContentHeader

log = logging.getLogger(__name__)

#: Of the frame that holds a message's properties and headers. The largest request of ours takes less than half of it,
#: and the worst that fits takes a millisecond to decode.
MAX_PROPERTIES_BYTES = 4096
#: Between two log lines, so that whoever sends such messages does not fill the log.
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
    """Changes how this process reads messages, and only those that it could not read. Neither library has a hook."""
    read = ContentHeader.unmarshal
    left_out = _LeftOut()

    def read_or_leave_out(header: ContentHeader, data: bytes) -> None:
        if len(data) > MAX_PROPERTIES_BYTES:
            header.class_id, header.weight, header.body_size = struct.unpack(">HHQ", data[:12])
            left_out.add(f"more than {MAX_PROPERTIES_BYTES} bytes")
            return
        try:
            read(header, data)
        except Exception as error:  # noqa: BLE001 - whatever it is, it would end the connection
            # By then its size has been read, and that is all that is needed to read on.
            header.properties = Basic.Properties()
            # The error's text may quote the message.
            left_out.add(type(error).__name__)

    ContentHeader.unmarshal = read_or_leave_out  # type: ignore[method-assign, assignment]
