"""Requests whose properties cannot be read: text that is not UTF-8, a time beyond the year 9999, endless nesting.

RabbitMQ looks into hardly any property and delivers them as they are. The AMQP library then ends the connection, and
the broker gives the same message to the next worker at once: one message disconnected all workers of a lane, and with
its last consumer went the queue and all that waited in it. Read as a message without properties it is a bad request.
"""

import logging

from pamqp.commands import Basic
from pamqp.header import ContentHeader

log = logging.getLogger(__name__)


def tolerate_unreadable_properties() -> None:
    """Changes how this process reads messages, and only those that it could not read. Neither library has a hook."""
    read = ContentHeader.unmarshal

    def read_or_leave_out(header: ContentHeader, data: bytes) -> None:
        try:
            read(header, data)
        except Exception as error:  # noqa: BLE001 - whatever it is, it would end the connection
            # By then its size has been read, and that is all that is needed to read on.
            header.properties = Basic.Properties()
            # The error's text may quote the message.
            log.warning("properties of a request cannot be read", extra={"error": type(error).__name__})

    ContentHeader.unmarshal = read_or_leave_out  # type: ignore[method-assign, assignment]
