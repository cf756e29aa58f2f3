"""OpenTelemetry set-up that edge and worker share. It is imported only if tracing is enabled."""

import os
from typing import ClassVar, Self

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from .. import __version__
from ..contracts.errors import ErrorCode

#: Errors of the service, which mark a span as failed. Others, such as a wrong password, are ordinary results.
FAULTS = frozenset({ErrorCode.INTERNAL, ErrorCode.UNAVAILABLE, ErrorCode.OVERLOADED, ErrorCode.DEADLINE_EXCEEDED})


def record_error(span: Span, code: str) -> None:
    """Record an error code in a span, and mark the span as failed if the code is a fault of the service."""
    span.set_attribute("error.type", code)
    if code in FAULTS:
        span.set_status(Status(StatusCode.ERROR))


class ProcessTracing:
    """Creates and exports spans; a context manager that exports the remaining spans at its end."""

    service: ClassVar[str]
    """The service name in traces, unless `OTEL_SERVICE_NAME` is set."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("jincor-auth", __version__)
        self._propagator = TraceContextTextMapPropagator()

    @classmethod
    def exporting(cls) -> Self:
        """Return an instance that exports as the `OTEL_…` variables configure it."""
        name = os.environ.get("OTEL_SERVICE_NAME") or cls.service
        provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name, SERVICE_VERSION: __version__}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._provider.shutdown()
