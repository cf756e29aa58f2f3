"""Structured logs: one line per record, as JSON for machines or as text for people, with the
request id.

Call sites write `log.info("user created", extra={"tenant": tenant})` and name each field in
`extra`. They never log a whole request, reply or exception, because these may hold secrets.
"""

import json
import logging
import sys
import zlib
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

LogFormat = Literal["json", "console"]

#: The id of the current request: `X-Request-ID` at the edge, and the same id in the worker's log.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def sampled(identifier: str, rate: float) -> bool:
    """Return whether this id is in the sample to log. `rate` is a fraction: 1 is all ids, 0 is
    none.

    The result depends only on the id, so a request is in the logs of both its edge and its worker,
    or in none.
    """
    return zlib.crc32(identifier.encode()) < rate * 0x1_0000_0000


#: Created once: `json.dumps` with `default` would create an encoder for each line.
_encode = json.JSONEncoder(default=str).encode

#: Attributes of every record; all others come from `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(service: str, level: str, log_format: LogFormat) -> None:
    """Send all log records of this process to stderr in one format. Call once, at the start of
    `main`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service) if log_format == "json" else ConsoleFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # These libraries also log lost connections, with a traceback. Our messages say what happens
    # next.
    for name in ("aio_pika", "aiormq"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        own: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "event": record.getMessage(),
        }
        if record.exc_info:
            own["traceback"] = self.formatException(record.exc_info)
        # First, so that the order is the same in each line; and again, so that no field of a call site replaces them.
        return _encode(own | _fields(record) | own)


class ConsoleFormatter(logging.Formatter):
    """Formats a record as a line for people: time, level, message, then `name=value` pairs."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        # A value may come from a caller: a line break in it could forge a log line.
        fields = "".join(f" {name}={_on_one_line(value)}" for name, value in _fields(record).items())
        line = f"{time} {record.levelname.lower():7} {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    if (current := request_id.get()) is not None:
        fields.setdefault("request_id", current)
    return fields


def _on_one_line(value: object) -> str:
    text = str(value)
    return text if text.isprintable() else ascii(text)
