"""The edge's metrics: what they are called, and how they are counted.

No label holds what a client chose: routes are their templates, and methods those that there are.
"""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from shared.client.cached_verifier import VerificationCounts
from shared.process.metrics import LATENCY_BUCKETS_SECONDS, OTHER, process_registry

METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})

Key = tuple[str, str | None, int | None]


class EdgeMetrics:
    """Counts what an edge does. A request costs a few microseconds: its labels are looked up once for all."""

    def __init__(self) -> None:
        self.registry = registry = process_registry()

        self._requests = Counter(
            "jincor_auth_edge_requests",
            "Requests, by the template of their route and the status of their answer; other: cut off without one.",
            ("method", "route", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "jincor_auth_edge_request_duration_seconds",
            "From the headers of a request to the first byte of its answer.",
            ("method", "route"),
            registry=registry,
            buckets=LATENCY_BUCKETS_SECONDS,
        )
        self._loop_lag = Histogram(
            "jincor_auth_edge_event_loop_lag_seconds",
            "How late the event loop was.",
            registry=registry,
            buckets=LATENCY_BUCKETS_SECONDS,
        )
        self._streams = Gauge("jincor_auth_edge_event_streams", "Event streams that are open.", registry=registry)
        self._connected = Gauge(
            "jincor_auth_edge_broker_connected",
            "1 while requests can be sent: 0 without a broker, and in its alarms.",
            registry=registry,
        )
        self._feed_alive = Gauge(
            "jincor_auth_edge_event_feed_alive",
            "1 while events are known to arrive for the streams.",
            registry=registry,
        )
        self._cache = _CacheCounts(registry)
        # Bound once for each combination that occurs, of which there are few: `labels` costs as much as counting.
        self._bound: dict[Key, tuple[Counter, Histogram]] = {}

    def answered(self, method: str, route: str | None, status: int | None, seconds: float) -> None:
        """A request was answered with this status, or with None at all."""
        bound = self._bound.get((method, route, status))
        if bound is None:
            bound = self._bind(method, route, status)
        requests, duration = bound
        requests.inc()
        duration.observe(seconds)

    def refused(self, status: int) -> None:
        """What came was refused before it was known what it asked for."""
        self._requests.labels(OTHER, OTHER, status).inc()

    def loop_was_late(self, seconds: float) -> None:
        self._loop_lag.observe(seconds)

    def watch(
        self,
        *,
        streams: Callable[[], int],
        connected: Callable[[], bool],
        feed_alive: Callable[[], bool],
        cache: VerificationCounts | None,
    ) -> None:
        """What is looked at when Prometheus asks, and costs nothing in between. It asks from a thread of its own."""
        self._streams.set_function(streams)
        self._connected.set_function(connected)
        self._feed_alive.set_function(feed_alive)
        self._cache.counts = cache

    def _bind(self, method: str, route: str | None, status: int | None) -> tuple[Counter, Histogram]:
        known = method if method in METHODS else OTHER
        bound = (
            self._requests.labels(known, route or OTHER, OTHER if status is None else status),
            self._seconds.labels(known, route or OTHER),
        )
        if known == method:  # others there may be any number of
            self._bound[method, route, status] = bound
        return bound


class _CacheCounts(Collector):
    """The verify cache counts for itself; here it is only read."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.counts: VerificationCounts | None = None
        registry.register(self)

    def collect(self) -> Iterable[CounterMetricFamily]:
        family = CounterMetricFamily(
            "jincor_auth_edge_verify_cache",
            "Verifications: hit, from memory; miss, asked of a worker; distrust, asked while the feed was not alive.",
            labels=("result",),
        )
        if self.counts is not None:
            for result, number in (
                ("hit", self.counts.hits),
                ("miss", self.counts.misses),
                ("distrust", self.counts.distrusts),
            ):
                family.add_metric((result,), number)
        yield family
