"""The edge as a process: `python -m api`. Exits 0 when told to stop, and otherwise says what is wrong."""

import logging
import signal

import uvicorn

from api.main import create_app
from api.settings import SECRETS, Settings
from shared.environment import load_settings
from shared.logging import configure

log = logging.getLogger("api")


def main() -> None:
    """Serves until SIGTERM or SIGINT, then finishes the requests at hand."""
    settings = load_settings(Settings, SECRETS)
    configure("api", settings.log_level, settings.log_format)
    server = uvicorn.Server(_server_config(settings))

    def stop(*_: object) -> None:
        server.should_exit = True

    # Uvicorn has handlers of its own while it serves. When it is done it puts these back and raises the signal again:
    # without them the process would die of the signal instead of exiting 0. Before it serves they are all there is.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    log.info("edge starts", extra={"host": settings.host, "port": settings.port})
    server.run()
    log.info("edge has stopped")


def _server_config(settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        lifespan="on",
        ws="none",
        log_config=None,
        log_level="warning",  # what it says below that repeats our own log
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[str(network) for network in settings.trusted_proxies],
        timeout_graceful_shutdown=settings.shutdown_grace_seconds,
    )


if __name__ == "__main__":
    main()
