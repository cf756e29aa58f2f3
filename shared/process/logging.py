"""Structured logs: one line a record, as JSON for machines or text for people, with the request's id on each.

Call sites write `log.info("user created", extra={"tenant": tenant})`; what goes into `extra` is a choice made by name
at the call site, so no request, reply or exception is ever dumped whole: they may hold secrets.
"""

import json
import logging
import sys
import zlib
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

LogFormat = Literal["json", "console"]

#: The id of the request being worked on, from the edge's `X-Request-ID` to the worker's log.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def sampled(identifier: str, rate: float) -> bool:
    """Whether a thing of this name is among those of which so many are logged: 1 is all, 0 none.

    The name decides, so a request that is in the log of the edge is in that of its worker too.
    """
    return zlib.crc32(identifier.encode()) < rate * 0x1_0000_0000


#: Made once: `json.dumps` with a `default` makes one for each line.
_encode = json.JSONEncoder(default=str).encode

#: Attributes that every record has; whatever else a record carries came from `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(service: str, level: str, log_format: LogFormat) -> None:
    """Sends all records of this process to standard error in one format. Call once, first thing in `main`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service) if log_format == "json" else ConsoleFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Their own reports of lost connections repeat ours, with a traceback; ours says what happens next.
    for name in ("aio_pika", "aiormq"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

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
    """A line that a person reads: time, level, message, then `name=value` pairs."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        # A value may come from outside: with a line break in it, it would pass for a line of its own.
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
