"""Metrics of the edge.

No label holds a value that a client chose: routes are templates, and unknown methods are `other`.
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
    """Metrics of one edge. Counting a request takes a few microseconds, because labels are looked up only once."""

    def __init__(self) -> None:
        self.registry = registry = process_registry()

        self._requests = Counter(
            "jincor_auth_edge_requests",
            "Requests by route template and response status; other: connection closed without a response.",
            ("method", "route", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "jincor_auth_edge_request_duration_seconds",
            "Time from the headers of a request to the first byte of its response.",
            ("method", "route"),
            registry=registry,
            buckets=LATENCY_BUCKETS_SECONDS,
        )
        self._loop_lag = Histogram(
            "jincor_auth_edge_event_loop_lag_seconds",
            "Delay of the event loop.",
            registry=registry,
            buckets=LATENCY_BUCKETS_SECONDS,
        )
        self._streams = Gauge("jincor_auth_edge_event_streams", "Open event streams.", registry=registry)
        self._connected = Gauge(
            "jincor_auth_edge_broker_connected",
            "1 while requests can be sent; 0 without a broker connection or during a broker alarm.",
            registry=registry,
        )
        self._feed_alive = Gauge(
            "jincor_auth_edge_event_feed_alive",
            "1 while revocation events provably arrive for the streams.",
            registry=registry,
        )
        self._cache = _CacheCounts(registry)
        # Each of the few combinations is bound once: `labels` costs as much as counting.
        self._bound: dict[Key, tuple[Counter, Histogram]] = {}

    def answered(self, method: str, route: str | None, status: int | None, seconds: float) -> None:
        """Count a request that was answered with this status; None means that it got no response."""
        bound = self._bound.get((method, route, status))
        if bound is None:
            bound = self._bind(method, route, status)
        requests, duration = bound
        requests.inc()
        duration.observe(seconds)

    def refused(self, status: int) -> None:
        """Count a request that was refused before its route was known."""
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
        """Set the sources that are read at each scrape. Prometheus scrapes from its own thread."""
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
        if known == method:  # unknown methods would grow the dictionary without bound
            self._bound[method, route, status] = bound
        return bound


class _CacheCounts(Collector):
    """Collector that exports the counts of the verification cache."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.counts: VerificationCounts | None = None
        registry.register(self)

    def collect(self) -> Iterable[CounterMetricFamily]:
        family = CounterMetricFamily(
            "jincor_auth_edge_verify_cache",
            "Verifications. hit: from the cache; miss: by a worker; distrust: by a worker, as the feed was not alive.",
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
