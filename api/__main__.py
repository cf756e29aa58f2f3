"""The edge as a process: `python -m api`. A requested stop exits with 0; any other exit prints the reason."""

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

from api.check import edge_problems
from api.limits.http import limited_http
from api.main import create_app, new_streams
from api.metrics import EdgeMetrics
from api.settings import SECRETS, Settings
from api.streams import Streams
from shared.process.garbage import collect_rarely
from shared.process.metrics import metrics_endpoint
from shared.process.startup import argument_parser, load_tracing, prepare

if TYPE_CHECKING:
    from api.tracing import EdgeTracing

log = logging.getLogger("api")

#: File descriptors for everything but event streams: ordinary requests, the broker, logs.
SPARE_DESCRIPTORS = 1_024
#: A connection is closed after this long without an acknowledgement or without room in the peer's
#: receive window (RFC 5482). The kernel's defaults are 15 minutes for the first and no limit for the second.
PEER_TIMEOUT_MILLISECONDS = 30_000
#: How often the draining edge checks for a forced exit.
DRAIN_POLL_SECONDS = 0.05


def main() -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests in flight."""
    arguments = argument_parser("api", "An edge of Jincor Auth.").parse_args()
    settings = prepare("api", Settings, SECRETS, edge_problems, check=arguments.check)
    _allow_descriptors(settings.event_streams + SPARE_DESCRIPTORS)
    streams = new_streams(settings)
    leaving = asyncio.Event()
    metrics = EdgeMetrics()
    tracing = load_tracing(_tracing)
    app = create_app(settings, streams=streams, leaving=leaving, metrics=metrics, tracing=tracing)
    server = _Server(_server_config(settings, app), streams, leaving, settings.drain_seconds)

    def stop(*_: object) -> None:
        server.should_exit = True

    # Uvicorn installs its own handlers while it serves, then restores these and raises the signal again.
    # Without these handlers the process would die of the signal instead of exiting with 0.
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


def _tracing() -> "type[EdgeTracing]":
    from api.tracing import EdgeTracing  # noqa: PLC0415 - imports OpenTelemetry, so only if tracing is on

    return EdgeTracing


class _Server(uvicorn.Server):
    """Uvicorn with draining, with an orderly end of event streams, and with a timeout for dead peers."""

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
            # Accepted connections inherit the option.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PEER_TIMEOUT_MILLISECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._drain()
        # Uvicorn waits for all responses before it stops the application, so streams must end first.
        self._streams.stop()
        await super().shutdown(sockets)

    async def _drain(self) -> None:
        """Serve for `drain_seconds` more while load balancers notice that this edge is not ready.

        Each response says `Connection: close`, so clients open their next connection elsewhere (RFC 9112, 9.6).
        Uvicorn alone would close idle connections at once, and a request already on its way would be lost.
        """
        log.info("edge is leaving, and serves a while longer", extra={"seconds": self._drain_seconds})
        self._leaving.set()
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        deadline = time.monotonic() + self._drain_seconds
        while not self.force_exit and time.monotonic() < deadline:  # noqa: ASYNC110 - a second SIGINT sets the flag
            await asyncio.sleep(DRAIN_POLL_SECONDS)


def _allow_descriptors(wanted: int) -> None:
    """Raise the soft limit of open files to `wanted`, or to the hard limit if that is lower."""
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
        log_level="error",  # lower levels repeat our own log
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[str(network) for network in settings.trusted_proxies],
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.shutdown_grace_seconds,
    )


if __name__ == "__main__":
    main()
