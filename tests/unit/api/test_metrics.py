"""Metrics of an edge and their labels."""

import asyncio
import gc
import tracemalloc

import httpx
import pytest

from api.main import create_app
from api.metrics import EdgeMetrics
from api.settings import Settings
from shared.client.cached_verifier import VerificationCounts
from tests.unit.api.fake_feed import FakeFeed
from tests.unit.api.fake_rpc import FakeRpc

TENANT = {"Authorization": "Bearer tenant-token"}


@pytest.fixture
def metrics() -> EdgeMetrics:
    return EdgeMetrics()


def value(metrics: EdgeMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"jincor_auth_edge_{name}", labels)


def samples(metrics: EdgeMetrics, name: str) -> list[dict[str, str]]:
    """Return the labels of all samples of this name."""
    return [
        sample.labels
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == f"jincor_auth_edge_{name}"
    ]


@pytest.mark.parametrize(
    ("line", "labels"),
    [
        ("POST /auth/verify", {"method": "POST", "route": "/auth/verify", "status": "200"}),
        ("DELETE /user/secret", {"method": "DELETE", "route": "/user/{login}", "status": "200"}),
        ("PUT /user/secret", {"method": "PUT", "route": "/user/{login}", "status": "405"}),
        ("GET /secret?secret=1", {"method": "GET", "route": "other", "status": "404"}),
        ("SECRET /user/secret", {"method": "other", "route": "/user/{login}", "status": "405"}),
    ],
)
async def test_request_is_counted_under_its_route_template(
    metrics: EdgeMetrics, line: str, labels: dict[str, str]
) -> None:
    """Labels contain nothing that a client chooses: no path, query or unknown method."""
    app = create_app(Settings(amqp_url="amqp://broker.invalid"), FakeRpc(), FakeFeed(), metrics=metrics)
    method, path = line.split()
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        transport = httpx.ASGITransport(lambda scope, *rest: app({**scope, "state": dict(state)}, *rest))
        async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
            for _ in range(2):
                await client.request(method, path, headers=TENANT, json={"token": "t"})
        assert value(metrics, "broker_connected") == 1

    assert samples(metrics, "requests_total") == [labels]
    assert value(metrics, "requests_total", **labels) == 2
    del labels["status"]
    assert value(metrics, "request_duration_seconds_count", **labels) == 2


def test_unknown_methods_share_one_label_and_use_no_memory(metrics: EdgeMetrics) -> None:
    """An entry for each would take 200 bytes or more."""
    metrics.answered("M", None, 404, 0.001)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(10_000):
            metrics.answered(f"M{number}", None, 404, 0.001)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert value(metrics, "requests_total", method="other", route="other", status="404") == 10_001
    assert after - before < 10_000 * 20


def test_aborted_request_is_counted_under_other_status(metrics: EdgeMetrics) -> None:
    metrics.answered("GET", "/events", None, 1.0)
    assert value(metrics, "requests_total", method="GET", route="/events", status="other") == 1


def test_gauges_are_read_at_each_scrape(metrics: EdgeMetrics) -> None:
    open_streams = 0
    connected = asyncio.Event()
    counts = VerificationCounts()
    metrics.watch(
        streams=lambda: open_streams,
        connected=connected.is_set,
        feed_alive=lambda: not connected.is_set(),
        cache=counts,
    )
    assert [value(metrics, name) for name in ("event_streams", "broker_connected", "event_feed_alive")] == [0, 0, 1]
    open_streams = 7
    connected.set()
    counts.hits, counts.misses, counts.distrusts = 5, 3, 2
    assert [value(metrics, name) for name in ("event_streams", "broker_connected", "event_feed_alive")] == [7, 1, 0]
    cached = [value(metrics, "verify_cache_total", result=result) for result in ("hit", "miss", "distrust")]
    assert cached == [5, 3, 2]


def test_edge_without_a_cache_exports_no_cache_metrics(metrics: EdgeMetrics) -> None:
    """Zeros would look like a cache without hits."""
    assert samples(metrics, "verify_cache_total") == []
