"""Edge and workers of a local stack: commands and settings.

The environment of this process overrides the stack's defaults; settings that a caller passes override both.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dev.ports import LOOPBACK
from dev.processes import REPOSITORY, ChildProcess, Service

#: Lanes of each worker. Password hashing has its own process, so that verifications do not wait for it.
LANES: Final = ("verify,manage", "password")

LOCAL_DEFAULTS: Final = {
    "AUTH_LOG_FORMAT": "json",
    # Every user of this machine may register a tenant.
    "AUTH_REGISTRATION_NETWORKS": "127.0.0.0/8,::1/128",
    # No load balancer needs time to notice that the edge is stopping.
    "AUTH_DRAIN_SECONDS": "0",
}


def worker_service(
    lanes: str,
    *,
    amqp_url: str,
    mongo_url: str,
    master_keys_file: Path,
    name: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Service:
    """Return a worker for these lanes, separated by commas. Its default name is `worker-<first lane>`."""
    # A worker refuses keys from both the environment and a file.
    keys = {} if os.environ.get("AUTH_MASTER_KEYS") else {"AUTH_MASTER_KEYS_FILE": str(master_keys_file)}
    settings = {
        **LOCAL_DEFAULTS,
        **keys,
        **os.environ,
        "AMQP_URL": amqp_url,
        "MONGO_URL": mongo_url,
        **(env or {}),
    }
    argv = [sys.executable, "-m", "worker", "--lanes", lanes]
    return Service(name or f"worker-{lanes.partition(',')[0]}", argv, settings)


def api_service(port: int, *, amqp_url: str, name: str = "api", env: Mapping[str, str] | None = None) -> Service:
    """Return an edge that listens on this port of the loopback address. It gets no key and no database URL."""
    settings = {
        **LOCAL_DEFAULTS,
        **{name: value for name, value in os.environ.items() if not name.startswith(("MONGO_URL", "AUTH_MASTER_KEYS"))},
        "AMQP_URL": amqp_url,
        "AUTH_HOST": LOOPBACK,
        "AUTH_PORT": str(port),
        **(env or {}),
    }
    return Service(name, [sys.executable, "-m", "api"], settings)


async def create_indexes(mongo_url: str, log_directory: Path, directory: Path = REPOSITORY) -> None:
    """Run the command that creates the indexes of the database. Raises `StackError` if it fails."""
    argv = [sys.executable, "-m", "worker.indexes"]
    command = ChildProcess(Service("indexes", argv, {**os.environ, "MONGO_URL": mongo_url}, directory), log_directory)
    command.start()
    if await command.wait():
        command.raise_if_ended()
