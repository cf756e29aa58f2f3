"""Traces, as far as this code knows them: which headers go with a request, and whose trace a batch belongs to.

What a trace is, and a span, is the business of whoever is asked here. Edge and workers ask OpenTelemetry, if they are
told where to send traces; a service that uses the client gives a function that answers headers, if it wants to.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Protocol
from weakref import WeakKeyDictionary

from .environment import refusal

#: W3C Trace Context, as headers of a request over AMQP.
TRACE_HEADERS = ("traceparent", "tracestate")
#: Either of them turns traces on (OpenTelemetry, "OTLP Exporter Configuration").
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Tracing(Protocol):
    """Asked at each request that leaves this process."""

    def headers(self) -> Mapping[str, str]:
        """What goes with a request that is made here and now."""

    def joins_batch(self, caller: object) -> None:
        """A caller begins to wait for a place in a batch; asked in its context."""

    def batch(self, callers: Iterable[object]) -> AbstractContextManager[object]:
        """Around the request that these travel with, which is made in the context of none of them."""


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


def traces_wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether somebody said where to send traces, and nobody that there shall be none."""
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none"
    return not off and any(environ.get(name) for name in ENDPOINTS)


@contextlib.contextmanager
def opentelemetry_needed() -> Iterator[None]:
    """Around the first import of it: exits as for a wrong setting when it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        name = next(name for name in ENDPOINTS if os.environ.get(name))
        problem = f"{name}: traces need OpenTelemetry, which is not installed: pip install 'jincor-auth[telemetry]'"
        raise refusal([problem]) from None
