"""Tolerates unreadable message properties: text that is not UTF-8, a time beyond the year 9999, deep nesting.

RabbitMQ checks hardly any property. The AMQP library closes the connection at an unreadable one,
and the broker delivers the message to the next worker. So one message could disconnect all workers
of a lane, and the lane's queue is deleted with its last consumer. Read without properties, the
message is an ordinary bad request.
"""

import logging

from pamqp.commands import Basic
from pamqp.header import ContentHeader

log = logging.getLogger(__name__)


def tolerate_unreadable_properties() -> None:
    """Patch the AMQP library to read unreadable properties as empty. It has no hook for this."""
    read = ContentHeader.unmarshal

    def read_or_leave_out(header: ContentHeader, data: bytes) -> None:
        try:
            read(header, data)
        except Exception as error:  # noqa: BLE001 - any error would close the connection
            # The body size has been read by then, and the library needs nothing else to continue.
            header.properties = Basic.Properties()
            # Only the type is logged: the error's text may quote the message.
            log.warning("properties of a request cannot be read", extra={"error": type(error).__name__})

    ContentHeader.unmarshal = read_or_leave_out  # type: ignore[method-assign, assignment]
