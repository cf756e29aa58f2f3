"""Metrics of a worker and their labels."""

import asyncio
import socket

import pytest
from prometheus_client import CollectorRegistry

from shared.contracts.auth_verify import AuthVerifyReply, VerifyAnswer
from shared.contracts.errors import InvalidTenantToken, InvalidToken, LoginTaken
from shared.contracts.events import RevocationReason
from shared.contracts.health import HealthReply
from shared.contracts.wire import WireModel
from shared.process.environment import EX_CONFIG
from shared.process.metrics import OTHER, metrics_endpoint
from tests.records import a_session, some_claims
from worker.metrics import WorkerMetrics
from worker.sweeper import Unannounced


@pytest.fixture
def metrics() -> WorkerMetrics:
    return WorkerMetrics()


def value(metrics: WorkerMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"jincor_auth_worker_{name}", labels)


@pytest.mark.parametrize(
    ("outcome", "code"), [(HealthReply(database=True), "ok"), (LoginTaken(), "login_taken"), (None, "late")]
)
def test_request_is_counted_by_operation_and_code(
    metrics: WorkerMetrics, outcome: WireModel | LoginTaken | None, code: str
) -> None:
    """Its duration and its queue wait are measured."""
    metrics.taken("user.create", 0.25)
    metrics.answered("user.create", outcome, 0.5)
    assert value(metrics, "requests_total", operation="user.create", code=code) == 1
    assert value(metrics, "request_duration_seconds_sum", operation="user.create") == 0.5
    assert value(metrics, "queue_wait_seconds_sum", operation="user.create") == 0.25


def test_unknown_queue_wait_is_not_counted(metrics: WorkerMetrics) -> None:
    """It would distort the metric as a wait of zero."""
    metrics.taken(OTHER, None)
    assert value(metrics, "queue_wait_seconds_count", operation=OTHER) is None


def test_verification_batch_is_counted_by_size_and_answers(metrics: WorkerMetrics) -> None:
    answers = (
        VerifyAnswer(claims=some_claims()),
        *(VerifyAnswer.failed(error) for error in (InvalidToken(), InvalidToken(), InvalidTenantToken())),
    )
    metrics.answered("auth.verify", AuthVerifyReply(answers=answers), 0.001)
    assert value(metrics, "requests_total", operation="auth.verify", code="ok") == 1
    assert value(metrics, "verify_batch_size_sum") == 4
    assert value(metrics, "verify_batch_size_count") == 1
    for code, number in (("ok", 1), ("invalid_token", 2), ("invalid_tenant_token", 1)):
        assert value(metrics, "verifications_total", code=code) == number


def test_sessions_are_counted_by_kind_and_revocation_reason(metrics: WorkerMetrics) -> None:
    metrics.session_opened(a_session())
    metrics.session_opened(a_session(user=None))
    metrics.sessions_revoked(RevocationReason.PASSWORD_CHANGED, 3)
    assert value(metrics, "sessions_created_total", kind="user") == 1
    assert value(metrics, "sessions_created_total", kind="tenant") == 1
    assert value(metrics, "sessions_revoked_total", reason="password_changed") == 3


def test_failed_sweep_keeps_the_last_backlog(metrics: WorkerMetrics) -> None:
    metrics.swept(Unannounced(number=7, oldest_seconds=30.0))
    metrics.swept(None)
    metrics.finished(2)
    metrics.finished(None)
    assert value(metrics, "outbox_backlog") == 7
    assert value(metrics, "outbox_age_seconds") == 30
    assert value(metrics, "endings_finished_total") == 2
    for sweep in ("announce", "finish"):
        assert [value(metrics, "sweeps_total", sweep=sweep, result=result) for result in ("ok", "failed")] == [1, 1]


def test_refused_events_are_counted_as_retried_or_listed(metrics: WorkerMetrics) -> None:
    for is_retried in (True, True, False):
        metrics.refused(is_retried)
    assert [value(metrics, "events_refused_total", then=then) for then in ("retried", "listed")] == [2, 1]


@pytest.mark.parametrize(("in_flight", "in_use", "waiting"), [(0, 0, 0), (3, 3, 0), (6, 4, 2)])
def test_hashes_beyond_the_threads_are_counted_as_waiting(
    metrics: WorkerMetrics, in_flight: int, in_use: int, waiting: int
) -> None:
    """The gauge also counts requests that wait for their turn."""
    metrics.watch(
        hash_threads=4,
        hashing=lambda: in_flight,
        waiting=lambda: 5,
        publishing=lambda: 0,
        in_flight=lambda: 9,
        connected=lambda: True,
        has_primary=lambda: True,
    )
    assert value(metrics, "hash_slots") == 4
    assert value(metrics, "hash_slots_in_use") == in_use
    assert value(metrics, "hash_waiting") == waiting + 5
    assert value(metrics, "requests_in_progress") == 9
    assert value(metrics, "broker_connected") == 1
    assert value(metrics, "primary_confirmed") == 1


def test_negative_event_lag_is_counted_as_zero(metrics: WorkerMetrics) -> None:
    """The clock of another worker may be ahead."""
    metrics.announced(-0.5)
    assert value(metrics, "event_lag_seconds_sum") == 0
    assert value(metrics, "event_lag_seconds_count") == 1


async def test_metrics_endpoint_serves_its_port_until_it_is_closed(metrics: WorkerMetrics) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with metrics_endpoint(metrics.registry, "127.0.0.1", port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        answer = await reader.read()
        writer.close()
    assert b"jincor_auth_worker_requests_total" in answer
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


def test_taken_metrics_port_stops_the_start_with_the_setting_name(capsys: pytest.CaptureFixture[str]) -> None:
    """Two processes of one host need different ports."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as ended, metrics_endpoint(CollectorRegistry(), "127.0.0.1", port):
            pass
    assert ended.value.code == EX_CONFIG
    assert f"AUTH_METRICS_PORT: cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def test_metrics_without_a_port_are_not_served() -> None:
    """This is the default."""
    with metrics_endpoint(CollectorRegistry(), "256.0.0.1", None):
        pass
