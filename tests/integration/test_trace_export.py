"""Trace export to a collector over OTLP."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from api.tracing import EdgeTracing
from worker.tracing import WorkerTracing


class Collector(HTTPServer):
    """Keeps every request it receives."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receive)
        self.received: list[tuple[str, bytes]] = []


class _Receive(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        self.server.received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield server
        server.shutdown()
        serving.join()


def test_spans_are_exported_to_the_configured_endpoint(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spans are sent at the end of the process at the latest."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    with contextlib.ExitStack() as stack:
        edge = stack.enter_context(EdgeTracing.exporting())
        stack.enter_context(WorkerTracing.exporting())
        with edge.serving("GET", {}), edge.sending("auth.login"):
            pass
    ((path, body),) = collector.received
    assert path == "/v1/traces"
    for text in (b"send rpc:auth.login", b"jincor-auth-edge", b"rabbitmq"):
        assert text in body
