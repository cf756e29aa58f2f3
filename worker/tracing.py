"""The worker's spans: one for each request, and one for each database command of a request.

Imported only if traces are configured. Names and attributes follow OpenTelemetry's semantic
conventions for messaging and databases. The span of a command contains its name and collection,
never its values or the text of its error, which quotes values.
"""

import contextlib
from collections.abc import Iterator

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, get_current_span
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from shared.amqp.telemetry import TRACE_HEADERS
from shared.amqp.topology import RPC_EXCHANGE
from shared.contracts.errors import ErrorCode
from shared.process.tracing import ProcessTracing, record_error
from worker.amqp.delivery import Delivery

CODES = frozenset(ErrorCode)


class WorkerTracing(ProcessTracing):
    service = "jincor-auth-worker"

    def __init__(self, provider: TracerProvider) -> None:
        super().__init__(provider)
        self.commands = MongoCommands(self._tracer)
        """The listener that makes spans of database commands."""

    @contextlib.contextmanager
    def processing(self, operation: str, message: Delivery) -> Iterator[Span]:
        """Run the body in the span of a request, which continues the sender's trace if the message has one.

        The caller passes the result to `ended`.
        """
        # Headers come from outside: values that are not text are ignored.
        given = {name: value for name in TRACE_HEADERS if isinstance(value := message.headers.get(name), str)}
        with self._tracer.start_as_current_span(
            f"process {RPC_EXCHANGE}:{operation}",
            self._propagator.extract(given, Context()),
            SpanKind.CONSUMER,
            {
                "messaging.system": "rabbitmq",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": f"{RPC_EXCHANGE}:{operation}",
                "messaging.rabbitmq.destination.routing_key": operation,
                "messaging.message.body.size": len(message.body),
                "jincor_auth.redelivered": message.redelivered,
            },
            record_exception=False,
        ) as span:
            yield span

    @staticmethod
    def ended(span: Span, code: str) -> None:
        """Record the result of the request in its span: `ok`, `late` or an error code."""
        span.set_attribute("jincor_auth.code", code)
        if code in CODES:
            record_error(span, code)


class MongoCommands(CommandListener):
    """Makes a span of each database command of a request. Motor calls it on the thread that runs the command.

    `opentelemetry-instrumentation-pymongo` is not used. It registers itself for the whole process,
    traces the sweep's queries too, and puts error texts into spans, with the values of a duplicate
    key.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._in_flight: dict[int, Span] = {}

    def started(self, event: CommandStartedEvent) -> None:
        if not get_current_span().get_span_context().is_valid:
            return
        collection = event.command.get(event.command_name)
        attributes: dict[str, str | int] = {
            "db.system.name": "mongodb",
            "db.operation.name": event.command_name,
            "db.namespace": event.database_name,
            "server.address": event.connection_id[0],
        }
        if event.connection_id[1] is not None:
            attributes["server.port"] = event.connection_id[1]
        name = event.command_name
        if isinstance(collection, str):
            attributes["db.collection.name"] = collection
            name = f"{event.command_name} {collection}"
        self._in_flight[event.request_id] = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        if span := self._in_flight.pop(event.request_id, None):
            span.end()

    def failed(self, event: CommandFailedEvent) -> None:
        if span := self._in_flight.pop(event.request_id, None):
            code = event.failure.get("code")
            if isinstance(code, int):
                span.set_attribute("db.response.status_code", str(code))
            span.set_attribute("error.type", str(event.failure.get("codeName") or code or "lost"))
            span.set_status(Status(StatusCode.ERROR))
            span.end()
