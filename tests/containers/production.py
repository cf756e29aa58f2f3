"""`docker-compose.prod.yml` with generated secrets and a single database instead of the replica set.

So it also runs with a database that only speaks MongoDB's protocol. Proxy, edges, workers and the three brokers are
those of production, with TLS, users and permissions, quorum queues, networks and limits.
"""

import contextlib
import json
import os
import ssl
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from deploy.private_files import GROUP_READS, write_private
from deploy.secret_files import make_compose_secrets
from dev.ports import free_port
from dev.processes import REPOSITORY
from tests.containers.conftest import Docker
from tests.images import MONGO_IMAGE

UP_TIMEOUT_SECONDS = 600
PRODUCTION = "docker-compose.prod.yml"
WORKERS = ("worker-verify", "worker-manage", "worker-password")
#: The tag of the images under test.
VERSION = "test"
#: A group that no container has by default.
SECRETS_GROUP = 54321

OVERRIDE = """
services:
  # As many as an engine inside a sandbox may give.
  rabbitmq-1: {ulimits: {nofile: 16384}}
  rabbitmq-2: {ulimits: {nofile: 16384}}
  rabbitmq-3: {ulimits: {nofile: 16384}}
  mongo-1: !override
    image: ${MONGO_IMAGE}
    networks: [database]
    healthcheck:
      test: ["CMD", "mongosh", "--quiet", "--eval", "db.adminCommand('ping').ok"]
      interval: 5s
      timeout: 10s
      retries: 20
  mongo-2: !reset null
  mongo-3: !reset null
  mongo-set: !override
    image: ${MONGO_IMAGE}
    entrypoint: ["true"]
    network_mode: none
    depends_on:
      mongo-1: {condition: service_healthy}
"""
DATABASE_URL = "mongodb://mongo-1/jincor_auth?directConnection=true&retryWrites=false"


class Production:
    """The stack, with a project name and ports of its own."""

    def __init__(self, docker: Docker, directory: Path) -> None:
        self.docker = docker
        self.project = f"jincor-auth-prod-test-{uuid.uuid4().hex[:8]}"
        self.secrets = directory / "secrets"
        self.secrets.mkdir()
        if os.geteuid() == 0:
            os.chown(self.secrets, -1, SECRETS_GROUP)
        make_compose_secrets(self.secrets, "localhost")
        for user in ("worker", "deploy"):
            write_private(self.secrets / f"{user}-mongo-url", DATABASE_URL, GROUP_READS)
        override = directory / "override.yml"
        override.write_text(OVERRIDE)
        files = ("--file", str(REPOSITORY / PRODUCTION), "--file", str(override))
        self.command = ("compose", "--project-name", self.project, *files)
        ports = {name: str(free_port()) for name in ("HTTPS_PORT", "HTTP_PORT")}
        self.env = {
            **os.environ,
            **ports,
            "VERSION": VERSION,
            "SECRETS_DIR": str(self.secrets),
            "SECRETS_GID": str(self.secrets.stat().st_gid),
            "MONGO_IMAGE": MONGO_IMAGE,
        }
        self.url = f"https://localhost:{ports['HTTPS_PORT']}"
        self.plain_url = f"http://localhost:{ports['HTTP_PORT']}"

    @property
    def registration_key(self) -> str:
        return (self.secrets / "registration-key").read_text()

    def trusted(self) -> ssl.SSLContext:
        """Return a context that trusts only the proxy's certificate."""
        return ssl.create_default_context(cafile=str(self.secrets / "edge-tls.pem"))

    def compose(self, *arguments: str) -> str:
        return self.docker(*self.command, *arguments, env=self.env, timeout_seconds=UP_TIMEOUT_SECONDS)

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        """Start everything, wait until it is healthy, and remove it with its data at the end."""
        try:
            self.compose("up", "--detach", "--wait")
            yield
        finally:
            self.compose("down", "--volumes", "--timeout", "30")

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "--quiet", service).split()

    def inspected(self, container: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.docker("inspect", container))[0]
        return found

    def python(self, network: str, script: str, *arguments: str) -> str:
        """Return the output of a Python script in a container on one of the stack's networks."""
        return self.docker("run", "--rm", *self._python(network), script, *arguments)

    @contextlib.contextmanager
    def running_script(self, network: str, name: str, script: str) -> Iterator[Callable[[], str]]:
        """Run a script in a container with that name on the network; yields a function that returns its output."""
        container = self.docker("run", "--detach", "--network-alias", name, *self._python(network), script).strip()
        try:
            yield lambda: self.docker("logs", container)
        finally:
            self.docker("rm", "--force", container)

    def _python(self, network: str) -> Sequence[str]:
        image = f"jincor-auth-api:{VERSION}"
        return ("--network", f"{self.project}_{network}", "--entrypoint", "python", image, "-u", "-c")
