"""Traces, as far as this code knows them: which headers go with a request, and whose trace a batch belongs to.

What a trace is, and a span, is the business of whoever is asked here. Edge and workers ask OpenTelemetry, if they are
told where to send traces; a service that uses the client gives a function that answers headers, if it wants to.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Protocol
from weakref import WeakKeyDictionary

#: W3C Trace Context, as headers of a request over AMQP.
TRACE_HEADERS = ("traceparent", "tracestate")
#: Of each of them; Trace Context asks to pass on as many. Workers leave the headers of a request undecoded if they are
#: too large, and a `tracestate` comes from clients.
MAX_TRACE_HEADER_CHARS = 512


class Tracing(Protocol):
    """Asked at each request that leaves this process."""

    def headers(self) -> Mapping[str, str]:
        """What goes with a request that is made here and now."""

    def joins_batch(self, caller: object) -> None:
        """A caller begins to wait for a place in a batch; asked in its context."""

    def batch(self, callers: Iterable[object]) -> AbstractContextManager[object]:
        """Around the request that these travel with, which is made in the context of none of them."""


def trace_headers(tracing: Tracing | None) -> dict[str, str]:
    """Return the headers of Trace Context for a request that is made here and now, without those that are too long."""
    headers = tracing.headers() if tracing else {}
    return {name: headers[name] for name in TRACE_HEADERS if 0 < len(headers.get(name, "")) <= MAX_TRACE_HEADER_CHARS}


class ForwardedHeaders:
    """Implements `Tracing` with a function that answers the headers of the context that it is called in.

    A batch of one goes on in the trace of its caller. One of several is nobody's, so no trace goes on in it.
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
