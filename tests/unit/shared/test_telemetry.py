"""Trace headers of requests, and when tracing is on."""

import subprocess
import sys

import pytest

from dev.processes import REPOSITORY
from shared.amqp.telemetry import MAX_TRACE_HEADER_CHARS, ForwardedHeaders, trace_headers
from shared.process.environment import EX_CONFIG
from shared.process.startup import ENDPOINTS, tracing_enabled

TIMEOUT_SECONDS = 120
#: Hides what the extra installs. OpenTelemetry's API stays, because FastAPI depends on it.
WITHOUT = "import sys; sys.modules['opentelemetry.sdk'] = None; sys.argv[1:] = []; "


class Caller:
    """A caller that waits in a batch."""


def test_request_carries_the_trace_headers_of_its_context() -> None:
    numbers = iter("123")
    tracing = ForwardedHeaders(lambda: {"traceparent": next(numbers)})
    assert [tracing.headers() for _ in range(2)] == [{"traceparent": "1"}, {"traceparent": "2"}]


def test_request_carries_only_trace_context_within_the_size_limit() -> None:
    """Clients of an edge choose `tracestate`, and a propagator may add headers of any size."""
    given = {"traceparent": "1", "tracestate": MAX_TRACE_HEADER_CHARS * "a", "baggage": "x"}
    tracing = ForwardedHeaders(lambda: given)
    assert trace_headers(tracing) == {"traceparent": "1", "tracestate": given["tracestate"]}
    given["tracestate"] += "a"
    assert trace_headers(tracing) == {"traceparent": "1"}
    assert trace_headers(None) == {}


@pytest.mark.parametrize(("callers", "expected"), [(1, {"traceparent": "1"}), (2, {}), (0, {})])
def test_batch_carries_trace_headers_only_for_a_single_caller(callers: int, expected: dict[str, str]) -> None:
    """The headers are those of the caller's own context, not of the sending task."""
    numbers = iter("123")
    tracing = ForwardedHeaders(lambda: {"traceparent": next(numbers)})
    waiting = [Caller() for _ in range(callers)]
    for caller in waiting:
        tracing.joins_batch(caller)
    with tracing.batch(waiting):
        assert tracing.headers() == expected
    assert tracing.headers() != expected


@pytest.mark.parametrize(
    ("environ", "enabled"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "auth"}, False),
        *(({name: "http://collector:4318"}, True) for name in ENDPOINTS),
        *(({name: ""}, False) for name in ENDPOINTS),
        *(({name: "http://collector:4318", "OTEL_SDK_DISABLED": "true"}, False) for name in ENDPOINTS),
        *(({name: "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False) for name in ENDPOINTS),
    ],
)
def test_tracing_is_on_if_an_endpoint_is_set_and_not_disabled(environ: dict[str, str], enabled: bool) -> None:
    """The variables are OpenTelemetry's own."""
    assert tracing_enabled(environ) is enabled


def run(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "AMQP_URL": "amqp://broker.invalid",
        "MONGO_URL": "mongodb://mongo.invalid",
        "AUTH_LANES": "verify",
        "AUTH_MASTER_KEYS": "test:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        **environ,
    }
    return subprocess.run(  # noqa: S603 - this very interpreter
        [sys.executable, "-c", code],
        env=settings,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


@pytest.mark.parametrize("main", ["api.__main__", "worker.main"])
def test_tracing_without_the_library_stops_the_start_with_a_hint(main: str) -> None:
    done = run(f"{WITHOUT}from {main} import main; main()", OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318")
    assert done.returncode == EX_CONFIG
    assert "OTEL_EXPORTER_OTLP_ENDPOINT: traces need OpenTelemetry" in done.stderr
    assert "pip install 'jincor-auth[telemetry]'" in done.stderr


@pytest.mark.parametrize(("main", "loaded"), [("api.__main__", "opentelemetry.sdk"), ("worker.main", "opentelemetry")])
def test_opentelemetry_without_tracing_is_not_imported(main: str, loaded: str) -> None:
    """The import costs memory and time. FastAPI imports OpenTelemetry's API by itself."""
    off = f"from shared.process.startup import load_tracing; assert load_tracing({main}._tracing) is None"
    done = run(f"import sys, {main}; {off}; sys.exit({loaded!r} in sys.modules)")
    assert done.returncode == 0, done.stderr
