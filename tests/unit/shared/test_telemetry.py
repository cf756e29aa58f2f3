"""Which headers go with a request, and when traces are wanted at all."""

import subprocess
import sys

import pytest

from dev.processes import REPOSITORY
from shared.amqp.telemetry import MAX_TRACE_HEADER_CHARS, ForwardedHeaders, trace_headers
from shared.process.environment import EX_CONFIG
from shared.process.startup import ENDPOINTS, tracing_enabled

TIMEOUT_SECONDS = 120
#: A process without what the extra installs. FastAPI itself needs OpenTelemetry's API, and so it is there.
WITHOUT = "import sys; sys.modules['opentelemetry.sdk'] = None; sys.argv[1:] = []; "


class Caller:
    """Who waits for a place in a batch."""


def test_a_request_carries_the_headers_of_its_context() -> None:
    """Asked each time."""
    numbers = iter("123")
    tracing = ForwardedHeaders(lambda: {"traceparent": next(numbers)})
    assert [tracing.headers() for _ in range(2)] == [{"traceparent": "1"}, {"traceparent": "2"}]


def test_only_trace_context_goes_with_a_request_and_only_as_much_as_workers_read() -> None:
    """A client of an edge writes `tracestate`, and a service's propagator may add headers of any size."""
    given = {"traceparent": "1", "tracestate": MAX_TRACE_HEADER_CHARS * "a", "baggage": "x"}
    tracing = ForwardedHeaders(lambda: given)
    assert trace_headers(tracing) == {"traceparent": "1", "tracestate": given["tracestate"]}
    given["tracestate"] += "a"
    assert trace_headers(tracing) == {"traceparent": "1"}
    assert trace_headers(None) == {}


@pytest.mark.parametrize(("callers", "expected"), [(1, {"traceparent": "1"}), (2, {}), (0, {})])
def test_a_batch_of_one_goes_on_in_its_callers_trace(callers: int, expected: dict[str, str]) -> None:
    """And a batch of several in nobody's; whoever happens to be asked then does not matter."""
    numbers = iter("123")
    tracing = ForwardedHeaders(lambda: {"traceparent": next(numbers)})
    waiting = [Caller() for _ in range(callers)]
    for caller in waiting:
        tracing.joins_batch(caller)
    with tracing.batch(waiting):
        assert tracing.headers() == expected
    assert tracing.headers() != expected


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "auth"}, False),
        *(({name: "http://collector:4318"}, True) for name in ENDPOINTS),
        *(({name: ""}, False) for name in ENDPOINTS),
        *(({name: "http://collector:4318", "OTEL_SDK_DISABLED": "true"}, False) for name in ENDPOINTS),
        *(({name: "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False) for name in ENDPOINTS),
    ],
)
def test_traces_are_wanted_where_there_is_somewhere_to_send_them(environ: dict[str, str], wanted: bool) -> None:
    """As OpenTelemetry's own variables say it."""
    assert tracing_enabled(environ) is wanted


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
def test_traces_without_the_library_refuse_the_start(main: str) -> None:
    """With a line that names the variable and what to install."""
    done = run(f"{WITHOUT}from {main} import main; main()", OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318")
    assert done.returncode == EX_CONFIG
    assert "OTEL_EXPORTER_OTLP_ENDPOINT: traces need OpenTelemetry" in done.stderr
    assert "pip install 'jincor-auth[telemetry]'" in done.stderr


@pytest.mark.parametrize(("main", "loaded"), [("api.__main__", "opentelemetry.sdk"), ("worker.main", "opentelemetry")])
def test_where_no_traces_are_wanted_the_library_is_not_even_imported(main: str, loaded: str) -> None:
    """It costs memory and a moment at the start. FastAPI imports OpenTelemetry's API for itself."""
    off = f"from shared.process.startup import load_tracing; assert load_tracing({main}._tracing) is None"
    done = run(f"import sys, {main}; {off}; sys.exit({loaded!r} in sys.modules)")
    assert done.returncode == 0, done.stderr
