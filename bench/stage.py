"""Processes that the benchmark needs: a stack, an edge with the route of the floor, and an echo."""

import base64
import os
import secrets
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from bench.echo import READY, AmqpEcho, connected_echo
from bench.population import Population
from dev.ports import LOOPBACK, free_port
from dev.processes import ChildProcess, Service
from dev.services import api_service, worker_service
from dev.stack import LocalStack

START_TIMEOUT_SECONDS: Final = 60
ISSUER: Final = "jincor-auth"
MASTER_KEY_ID: Final = "bench"


@dataclass(frozen=True, slots=True)
class Stage:
    """The running processes and their addresses."""

    stack: LocalStack
    floor_url: str
    """URL of the edge with the route that calls no worker."""
    caching_url: str
    """URL of the edge with `AUTH_VERIFY_CACHE_SECONDS`."""
    echo: AmqpEcho
    population: Population
    master_keys: Mapping[str, bytes]
    directory: Path

    @property
    def pids(self) -> Mapping[str, int]:
        """Pids of the service by name: `api`, `worker-verify`, `worker-password`, `mongo`, `rabbitmq`."""
        return {child.name: child.pid for child in self.stack.children}

    @asynccontextmanager
    async def more(self, workers: int, edges: int) -> AsyncIterator[list[str]]:
        """Run additional workers of the verify lane and edges; yields the URLs of these edges."""
        keys = self.directory / "master-key"  # not read: the keys are in the environment
        services = [
            worker_service(
                "verify",
                amqp_url=self.stack.amqp_url,
                mongo_url=self.stack.mongo_url,
                master_keys_file=keys,
                name=f"worker-verify-{number + 2}",
            )
            for number in range(workers)
        ]
        ports = [free_port() for _ in range(edges)]
        services += [
            api_service(port, amqp_url=self.stack.amqp_url, name=f"api-{number}")
            for number, port in enumerate(ports, start=2)
        ]
        children = [ChildProcess(service, self.directory) for service in services]
        try:
            for child in children:
                child.start()
            for child, port in zip(children[workers:], ports, strict=True):
                await until_ready(child, f"http://{LOOPBACK}:{port}")
            for child in children[:workers]:
                await until_it_says(child, "taking requests")
            self.stack.children.extend(children)
            yield [f"http://{LOOPBACK}:{port}" for port in ports]
        finally:
            for child in children:
                if child in self.stack.children:
                    self.stack.children.remove(child)
                await child.terminate()

    @asynccontextmanager
    async def another(self) -> AsyncIterator[tuple[str, Population]]:
        """Run a second stack with the same keys and an empty database; yields its URL and its population."""
        async with (
            LocalStack(self.directory / "another", free_port(), say=lambda _: None) as stack,
            Population(stack.mongo_url, self.master_keys, ISSUER) as population,
        ):
            yield stack.url, population


def new_master_keys() -> Mapping[str, bytes]:
    """Return a new master key, after adding it to the environment of the processes that are started from now on.

    The benchmark needs the key to sign tokens of sessions that it writes to the database.
    """
    master_keys = {MASTER_KEY_ID: secrets.token_bytes(32)}
    os.environ["AUTH_MASTER_KEYS"] = ",".join(
        f"{key_id}:{base64.b64encode(key).decode()}" for key_id, key in master_keys.items()
    )
    os.environ["AUTH_ISSUER"] = ISSUER
    return master_keys


@asynccontextmanager
async def set_up(directory: Path) -> AsyncIterator[Stage]:
    """Start all processes, and stop them at the end. Raises `StackError`."""
    master_keys = new_master_keys()
    async with (
        LocalStack(directory, free_port()) as stack,
        _edge("floor-edge", "bench.edge", stack, directory) as floor_url,
        _edge("caching-edge", "api", stack, directory, AUTH_VERIFY_CACHE_SECONDS="60") as caching_url,
        _echo(stack.amqp_url, directory) as echo,
        Population(stack.mongo_url, master_keys, ISSUER) as population,
    ):
        yield Stage(stack, floor_url, caching_url, echo, population, master_keys, directory)


@asynccontextmanager
async def _edge(name: str, module: str, stack: LocalStack, directory: Path, **env: str) -> AsyncIterator[str]:
    port = free_port()
    settings = api_service(port, amqp_url=stack.amqp_url, env=env).env
    edge = ChildProcess(Service(name, [sys.executable, "-m", module], settings), directory)
    edge.start()
    try:
        await until_ready(edge, f"http://{LOOPBACK}:{port}")
        yield f"http://{LOOPBACK}:{port}"
    finally:
        await edge.kill()


@asynccontextmanager
async def _echo(amqp_url: str, directory: Path) -> AsyncIterator[AmqpEcho]:
    echo = ChildProcess(Service("echo", [sys.executable, "-m", "bench.echo", amqp_url], os.environ), directory)
    echo.start()
    try:
        await until_it_says(echo, READY)
        async with connected_echo(amqp_url) as asked:
            yield asked
    finally:
        await echo.kill()


async def until_it_says(child: ChildProcess, words: str) -> None:
    """Wait until these words are at the end of a process's log."""

    async def has_said() -> bool:
        return words in child.tail()

    await child.wait_until(has_said, START_TIMEOUT_SECONDS)


async def until_ready(edge: ChildProcess, url: str) -> None:
    """Wait until an edge is ready."""

    async def is_ready() -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False) as http:
                return (await http.get(f"{url}/health/ready")).is_success
        except httpx.TransportError:
            return False

    await edge.wait_until(is_ready, START_TIMEOUT_SECONDS)
