"""Edge and workers as children of a local stack: how they are started, and with which settings.

Our own environment overrides the defaults of the local stack; what a caller passes overrides both.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dev.ports import LOOPBACK
from dev.processes import Service

#: One worker each. Password hashing has a process of its own, or verifications would wait behind it.
LANES: Final = ("verify,manage", "password")

LOCAL_DEFAULTS: Final = {
    "AUTH_LOG_FORMAT": "json",
    # Anyone on this machine may register a tenant.
    "AUTH_REGISTRATION_NETWORKS": "127.0.0.0/8,::1/128",
    # No load balancer stands before it that would have to notice.
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
    """A worker for these lanes (comma separated), called `worker-<first lane>` unless it gets a name."""
    # A worker refuses to choose between keys of its environment and keys of a file.
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
    """An edge that listens on this port of the loopback address. It gets no key and no database."""
    settings = {
        **LOCAL_DEFAULTS,
        **{name: value for name, value in os.environ.items() if not name.startswith(("MONGO_URL", "AUTH_MASTER_KEYS"))},
        "AMQP_URL": amqp_url,
        "AUTH_HOST": LOOPBACK,
        "AUTH_PORT": str(port),
        **(env or {}),
    }
    return Service(name, [sys.executable, "-m", "api"], settings)
