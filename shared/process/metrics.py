"""The metrics registry and endpoint of a process, for edge and worker.

Each process has its own registry and port, so metrics of several processes need no merging.
"""

import contextlib
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, start_http_server

from .environment import configuration_error

#: Histogram buckets in seconds: from a cached verification to beyond the default timeout of a call.
LATENCY_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
#: Label value for all names outside the closed set of label values.
OTHER = "other"


def process_registry() -> CollectorRegistry:
    """Return a new registry with the standard collectors for process, platform and garbage
    collection."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry


@contextlib.contextmanager
def metrics_endpoint(registry: CollectorRegistry, host: str, port: int | None) -> Iterator[None]:
    """Serve the registry to Prometheus on its own thread, so also while the event loop is blocked.

    With `port=None` there is no endpoint. Raises `SystemExit` with a configuration error if the
    port is not available: each process of a host needs its own.
    """
    if port is None:
        yield
        return
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise configuration_error([f"AUTH_METRICS_PORT: cannot listen on {host}:{port}: {error.strerror}"]) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
