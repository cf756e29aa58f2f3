"""The edge as a process: `python -m api`. Exits 0 when told to stop, and otherwise says what is wrong."""

import argparse
import asyncio
import contextlib
import logging
import resource
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from api.check import problems
from api.limits import limited_http
from api.main import create_app, new_streams
from api.metrics import EdgeMetrics
from api.settings import SECRETS, Settings
from api.streams import Streams
from shared.process.environment import load_settings, report_check, require_opentelemetry, tracing_enabled
from shared.process.garbage import collect_rarely
from shared.process.logging import configure
from shared.process.metrics import metrics_endpoint

if TYPE_CHECKING:
    from api.tracing import EdgeTracing

log = logging.getLogger("api")

#: Connections of ordinary requests, of the broker, and whatever else needs a descriptor besides the event streams.
SPARE_DESCRIPTORS = 1_024
#: A peer that acknowledges nothing for so long, or has no room to read, is gone, and so is what was kept for it. The
#: kernel alone would try for a quarter of an hour, and wait for ever on one that only stopped reading (RFC 5482).
PEER_TIMEOUT_MILLISECONDS = 30_000
#: How often to look whether somebody is out of patience.
DRAIN_POLL_SECONDS = 0.05


def main() -> None:
    """Serves until SIGTERM or SIGINT, then finishes the requests at hand."""
    parser = argparse.ArgumentParser(prog="python -m api", description="An edge of Jincor Auth.")
    parser.add_argument("--check", action="store_true", help="only say what is wrong: configuration, broker")
    arguments = parser.parse_args()
    settings = load_settings(Settings, SECRETS)
    configure("api", "critical" if arguments.check else settings.log_level, settings.log_format)
    if arguments.check:
        raise SystemExit(report_check(asyncio.run(problems(settings))))
    _allow_descriptors(settings.event_streams + SPARE_DESCRIPTORS)
    streams = new_streams(settings)
    leaving = asyncio.Event()
    metrics = EdgeMetrics()
    tracing = _tracing()
    app = create_app(settings, streams=streams, leaving=leaving, metrics=metrics, tracing=tracing)
    server = _Server(_server_config(settings, app), streams, leaving, settings.drain_seconds)

    def stop(*_: object) -> None:
        server.should_exit = True

    # Uvicorn has handlers of its own while it serves. When it is done it puts these back and raises the signal again:
    # without them the process would die of the signal instead of exiting 0. Before it serves they are all there is.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    collect_rarely()
    log.info("edge starts", extra={"host": settings.host, "port": settings.port})
    with (
        metrics_endpoint(metrics.registry, settings.metrics_host, settings.metrics_port),
        tracing or contextlib.nullcontext(),
    ):
        server.run()
    log.info("edge has stopped")


def _tracing() -> "EdgeTracing | None":
    """What makes spans, if somebody wants them; without it OpenTelemetry is not even imported."""
    if not tracing_enabled():
        return None
    with require_opentelemetry():
        from api.tracing import EdgeTracing  # noqa: PLC0415 - see above
    return EdgeTracing.exporting()


class _Server(uvicorn.Server):
    """Uvicorn, for connections that stay open."""

    def __init__(self, config: uvicorn.Config, streams: Streams, leaving: asyncio.Event, drain_seconds: float) -> None:
        super().__init__(config)
        self._streams = streams
        self._leaving = leaving
        self._drain_seconds = drain_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if sys.platform != "linux":
            return
        for listener in (each for server in self.servers for each in server.sockets):
            # Connections inherit it when they are accepted.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PEER_TIMEOUT_MILLISECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._drain()
        # Uvicorn waits until all responses are done before it tells the application: streams have to end by then.
        self._streams.stop()
        await super().shutdown(sockets)

    async def _drain(self) -> None:
        """Serves a while longer, so that nobody meets a closed door: load balancers see that it is not ready any more,
        and whoever keeps a connection is told with the next answer to open another (RFC 9112, 9.6).

        Uvicorn would close idle connections at once, and a request that is on its way on one of them would be lost.
        """
        log.info("edge is leaving, and serves a while longer", extra={"seconds": self._drain_seconds})
        self._leaving.set()
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        deadline = time.monotonic() + self._drain_seconds
        while not self.force_exit and time.monotonic() < deadline:  # noqa: ASYNC110 - a second SIGINT sets it, as a flag
            await asyncio.sleep(DRAIN_POLL_SECONDS)


def _allow_descriptors(wanted: int) -> None:
    """Takes what the system allows of open files, which is commonly far more than a process begins with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning("not enough files may be open for AUTH_EVENT_STREAMS", extra={"wanted": wanted, "allowed": allowed})


def _server_config(settings: Settings, app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=limited_http(settings.max_body_bytes, settings.body_seconds),
        lifespan="on",
        ws="none",
        log_config=None,
        log_level="error",  # what it says below that repeats our own log
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[str(network) for network in settings.trusted_proxies],
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.shutdown_grace_seconds,
    )


if __name__ == "__main__":
    main()
