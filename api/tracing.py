"""Spans of the edge: one for each HTTP request and one for each worker request. Imported only with tracing on.

Names and attributes follow OpenTelemetry's semantic conventions for HTTP and messaging. Path and query
are left out because they hold logins. No span holds a body, a token or the text of an error.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from weakref import WeakKeyDictionary

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    get_current_span,
    set_span_in_context,
)
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import METHODS
from shared.amqp.telemetry import TRACE_HEADERS
from shared.amqp.topology import RPC_EXCHANGE
from shared.contracts.auth_verify import AUTH_VERIFY
from shared.contracts.errors import AuthError
from shared.process.tracing import ProcessTracing, record_error

#: Only 5xx marks a server span as an error, by the semantic conventions.
FIRST_SERVER_ERROR = 500


class EdgeTracing(ProcessTracing):
    """Implements `shared.amqp.telemetry.Tracing`."""

    service = "jincor-auth-edge"

    def __init__(self, provider: TracerProvider) -> None:
        super().__init__(provider)
        self._callers: WeakKeyDictionary[object, SpanContext] = WeakKeyDictionary()

    def middleware(self) -> Middleware:
        """Return the middleware that creates the span of each HTTP request."""
        return Middleware(TracingMiddleware, tracing=self)

    @contextlib.contextmanager
    def serving(self, method: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """Open the span of an HTTP request, within the client's trace if the request names one."""
        given = {name: headers[name] for name in TRACE_HEADERS if name in headers}
        known = method if method in METHODS else "HTTP"
        with self._tracer.start_as_current_span(
            known,
            self._propagator.extract(given, Context()),
            SpanKind.SERVER,
            {"http.request.method": known if known in METHODS else "_OTHER"},
            record_exception=False,
        ) as span:
            yield span

    @contextlib.contextmanager
    def sending(self, operation: str) -> Iterator[None]:
        """Open the span of a worker request, which lasts until the reply."""
        with self._sending(operation, None, (), {}):
            yield

    def headers(self) -> Mapping[str, str]:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier

    def joins_batch(self, caller: object) -> None:
        context = get_current_span().get_span_context()
        if context.is_valid:
            self._callers[caller] = context

    @contextlib.contextmanager
    def batch(self, callers: Iterable[object]) -> Iterator[None]:
        """Open the span of a batch, linked to the spans of all its callers.

        With a single caller, the span is part of that caller's trace.
        """
        found = [self._callers.pop(caller, None) for caller in callers]
        spans = [context for context in found if context is not None]
        alone = len(found) == len(spans) == 1
        parent = set_span_in_context(NonRecordingSpan(spans[0]), Context()) if alone else Context()
        with self._sending(AUTH_VERIFY.name, parent, spans, {"jincor_auth.checks": len(found)}):
            yield

    @contextlib.contextmanager
    def _sending(
        self, operation: str, parent: Context | None, links: Iterable[SpanContext], attributes: Mapping[str, int]
    ) -> Iterator[None]:
        with self._tracer.start_as_current_span(
            f"send {RPC_EXCHANGE}:{operation}",
            parent,
            SpanKind.PRODUCER,
            {
                "messaging.system": "rabbitmq",
                "messaging.operation.name": "send",
                "messaging.operation.type": "send",
                "messaging.destination.name": f"{RPC_EXCHANGE}:{operation}",
                "messaging.rabbitmq.destination.routing_key": operation,
                **attributes,
            },
            [Link(context) for context in links],
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except AuthError as error:
                record_error(span, error.code)
                raise


class TracingMiddleware:
    """Middleware that gives each HTTP request a span named by the route's template."""

    def __init__(self, app: ASGIApp, tracing: EdgeTracing) -> None:
        self.app = app
        self.tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        with self.tracing.serving(scope["method"], Headers(scope=scope)) as span:

            async def send_and_note(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    span.set_attribute("http.response.status_code", status)
                    if status >= FIRST_SERVER_ERROR:
                        span.set_status(Status(StatusCode.ERROR))
                        span.set_attribute("error.type", str(status))
                await send(message)

            try:
                await self.app(scope, receive, send_and_note)
            finally:
                if route := getattr(scope.get("route"), "path", None):
                    span.set_attribute("http.route", route)
                    span.update_name(f"{scope['method'] if scope['method'] in METHODS else 'HTTP'} {route}")
