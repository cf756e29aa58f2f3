"""The port to tracing: the trace headers of a request, and the trace that a batch continues.

The edge implements it with OpenTelemetry if an exporter is configured. A service that uses the
client passes a function that returns trace headers.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Protocol
from weakref import WeakKeyDictionary

#: The headers of W3C Trace Context, as AMQP headers of a request.
TRACE_HEADERS = ("traceparent", "tracestate")
#: Longest value of each header; Trace Context asks to pass on as many characters. A `tracestate` comes
#: from clients, and workers leave headers undecoded if they are too large.
MAX_TRACE_HEADER_CHARS = 512


class Tracing(Protocol):
    """Provides trace headers for each request that this process sends."""

    def headers(self) -> Mapping[str, str]:
        """Return the headers of a request in the current context."""

    def joins_batch(self, caller: object) -> None:
        """Record the trace of a caller that joins a batch. Called in the caller's context."""

    def batch(self, callers: Iterable[object]) -> AbstractContextManager[object]:
        """Return a context for sending the batch of these callers. The batch has no caller's
        context."""


def trace_headers(tracing: Tracing | None) -> dict[str, str]:
    """Return the headers of Trace Context for a request that is made here and now, without those that are too long."""
    headers = tracing.headers() if tracing else {}
    return {name: headers[name] for name in TRACE_HEADERS if 0 < len(headers.get(name, "")) <= MAX_TRACE_HEADER_CHARS}


class ForwardedHeaders:
    """Implements `Tracing` with a function that returns the headers of the current context.

    A batch with one caller continues its trace. A batch with several callers continues no trace.
    """

    def __init__(self, headers: Callable[[], Mapping[str, str]]) -> None:
        self._headers = headers
        self._of_caller: WeakKeyDictionary[object, Mapping[str, str]] = WeakKeyDictionary()
        self._of_batch: ContextVar[Mapping[str, str] | None] = ContextVar("headers_of_batch", default=None)

    def headers(self) -> Mapping[str, str]:
        batch = self._of_batch.get()
        return self._headers() if batch is None else batch

    def joins_batch(self, caller: object) -> None:
        self._of_caller[caller] = self._headers()

    @contextlib.contextmanager
    def batch(self, callers: Iterable[object]) -> Iterator[None]:
        found = [self._of_caller.pop(caller, {}) for caller in callers]
        token = self._of_batch.set(found[0] if len(found) == 1 else {})
        try:
            yield
        finally:
            self._of_batch.reset(token)
