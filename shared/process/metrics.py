"""What the metrics of edge and worker have in common: the registry of a process, and where Prometheus finds it.

A registry of its own for each process, on a port of its own: nothing is shared, so nothing has to be merged.
"""

import contextlib
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, start_http_server

from .environment import configuration_error

#: From a verification that is answered from memory to the default deadline, and somewhat beyond.
LATENCY_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
#: What is counted under no name of its own: labels are a closed set.
OTHER = "other"


def process_registry() -> CollectorRegistry:
    """A new registry, with what there is to know of any process."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry


@contextlib.contextmanager
def metrics_endpoint(registry: CollectorRegistry, host: str, port: int | None) -> Iterator[None]:
    """Answers Prometheus on a thread of its own, also while the event loop is stuck. Without a port it does not.

    Exits as for a wrong setting when the port cannot be had: two processes of one host need two.
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
