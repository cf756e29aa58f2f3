"""Spans of database commands: which exist, and what they omit."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from bson import SON
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, Tracer
from pymongo.monitoring import CommandFailedEvent, CommandStartedEvent, CommandSucceededEvent

from worker.tracing import MongoCommands

ADDRESS = ("mongo.test", 27017)


class Database:
    """PyMongo's command events, and the spans made from them."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer: Tracer = provider.get_tracer("test")
        self.listener = MongoCommands(self.tracer)

    def begin(self, command: Mapping[str, Any], request_id: int = 1) -> None:
        self.listener.started(CommandStartedEvent(SON(command), "jincor_auth", request_id, ADDRESS, request_id))

    def succeed(self, request_id: int = 1) -> None:
        self.listener.succeeded(CommandSucceededEvent(_ANY, {"ok": 1}, "find", request_id, ADDRESS, request_id))

    def fail(self, failure: dict[str, Any], request_id: int = 1) -> None:
        self.listener.failed(CommandFailedEvent(_ANY, failure, "insert", request_id, ADDRESS, request_id))

    @property
    def spans(self) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name != "request"]


_ANY = timedelta(0)


@pytest.fixture
def database() -> Database:
    return Database()


def test_command_outside_a_request_has_no_span(database: Database) -> None:
    """The sweep queries every two seconds, without a trace."""
    database.begin({"find": "sessions", "filter": {}})
    database.succeed()
    assert database.spans == []


def test_command_span_names_command_and_collection_without_the_filter(database: Database) -> None:
    with database.tracer.start_as_current_span("request"):
        database.begin({"find": "users", "filter": {"email": "secret"}})
        database.succeed()
    (span,) = database.spans
    assert span.name == "find users"
    assert span.attributes == {
        "db.system.name": "mongodb",
        "db.operation.name": "find",
        "db.namespace": "jincor_auth",
        "db.collection.name": "users",
        "server.address": "mongo.test",
        "server.port": 27017,
    }


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ({"code": 11000, "codeName": "DuplicateKey", "errmsg": 'dup key: { email: "secret" }'}, "DuplicateKey"),
        ({"code": 11000, "errmsg": "secret"}, "11000"),
        ({"errmsg": "connection closed"}, "lost"),
    ],
)
def test_failed_command_span_has_the_error_code_without_the_text(
    database: Database, failure: dict[str, Any], error: str
) -> None:
    """The text of a duplicate key error quotes an email or login."""
    with database.tracer.start_as_current_span("request"):
        database.begin({"insert": "users"})
        database.fail(failure)
    (span,) = database.spans
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == error
    assert "secret" not in span.to_json()


def test_concurrent_commands_have_separate_spans(database: Database) -> None:
    """PyMongo's request ids distinguish them. A command without a collection is named after itself."""
    with database.tracer.start_as_current_span("request"):
        database.begin({"find": "sessions"}, request_id=1)
        database.begin({"ping": 1}, request_id=2)
        database.succeed(1)
        database.succeed(2)
    assert [span.name for span in database.spans] == ["find sessions", "ping"]
