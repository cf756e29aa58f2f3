"""The broker and the database of the tests: private local ones, or containers.

`TEST_BACKEND=containers` uses testcontainers. Without a usable engine or images it warns and falls back to the local
stack. Without RabbitMQ, tests that need it are skipped locally and fail in CI.
"""

import asyncio
import contextlib
import functools
import gc
import os
import time
import uuid
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import aio_pika
import docker.errors
import pymongo
import pytest
from aio_pika.exceptions import AMQPError
from pymongo.errors import PyMongoError
from testcontainers.core.container import DockerContainer
from yarl import URL

from dev.mongo import MongoServer
from dev.processes import REPOSITORY, StackError
from dev.rabbitmq import RabbitNode
from tests.images import MONGO_IMAGE, RABBITMQ_MANAGEMENT_IMAGE
from worker.adapters import mongo_database
from worker.adapters.mongo_indexes import create_indexes

AMQP_PORT = 5672
MONGO_PORT = 27017
#: For containers, whose images may have to be unpacked first.
START_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Backend:
    """A running broker and database. `ctl` runs rabbitmqctl against the broker."""

    kind: str
    amqp_url: str
    mongo_url: str
    ctl: Callable[[Sequence[str]], Awaitable[str]]

    async def vhost(self) -> str:
        """Return the URL of a new virtual host, since exchanges and queues have fixed names.

        It is deleted with the broker: deleting it here would take a second per test.
        """
        name = f"test-{uuid.uuid4().hex[:12]}"
        user = URL(self.amqp_url).user or ""
        await self.ctl(["add_vhost", name])
        await self.ctl(["set_permissions", "-p", name, user, ".*", ".*", ".*"])
        return str(URL(self.amqp_url).with_path(f"/{name}"))

    def database_url(self) -> str:
        """Return the URL of a new database."""
        return str(
            URL(self.mongo_url).with_path(f"/test_{uuid.uuid4().hex[:12]}").with_query(URL(self.mongo_url).query)
        )


async def with_indexes(mongo_url: str) -> str:
    """Create the indexes that workers wait for, as the operator's command does, and return the URL."""
    async with mongo_database.connect(mongo_url) as database:
        await create_indexes(database)
    return mongo_url


@contextlib.asynccontextmanager
async def running_backend(directory: Path) -> AsyncIterator[Backend]:
    """Run the backend that `TEST_BACKEND` names, and stop it at the end."""
    async with contextlib.AsyncExitStack() as stack:
        backend = None
        if os.environ.get("TEST_BACKEND") == "containers":
            backend = await _containers(stack)
        yield backend or await _local(directory, stack)


def _bounds() -> str:
    """Return the limits of deploy/rabbitmq/rabbitmq.conf, for a node that needs nothing else of it."""
    lines = (REPOSITORY / "deploy/rabbitmq/rabbitmq.conf").read_text().splitlines()
    return "\n".join(line for line in lines if line.startswith(("max_message_size", "frame_max"))) + "\n"


async def _local(directory: Path, stack: contextlib.AsyncExitStack) -> Backend:
    node, server = RabbitNode(directory / "rabbitmq", config=_bounds()), MongoServer(directory / "mongo")
    stack.push_async_callback(node.stop)
    stack.push_async_callback(server.stop)
    try:
        await node.start()
        await server.start()
    except StackError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no local stack: {error}")

    async def ctl(arguments: Sequence[str]) -> str:
        return await node.ctl(*arguments)

    return Backend("local", node.amqp_url, server.url, ctl)


async def _containers(stack: contextlib.AsyncExitStack) -> Backend | None:
    """Start plain `DockerContainer`s: the subclasses need drivers of their own and wait for log lines."""
    try:
        rabbit = DockerContainer(RABBITMQ_MANAGEMENT_IMAGE).with_exposed_ports(AMQP_PORT)
        mongo = DockerContainer(MONGO_IMAGE).with_exposed_ports(MONGO_PORT)
        for container in (rabbit, mongo):
            await asyncio.to_thread(container.start)
            stack.callback(container.stop)
    except docker.errors.DockerException as error:
        reason = f"{type(error).__name__}: {error}"
    else:
        reason = ""
    if reason:
        with warnings.catch_warnings():
            # The Docker client that found no engine leaves an open socket, which warns when it is collected.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
        warnings.warn(f"no containers, using the local stack: {reason}", stacklevel=1)
        return None
    amqp = _address(rabbit, AMQP_PORT)
    # From outside the container, the address that the database reports is not reachable.
    database = f"mongodb://{_address(mongo, MONGO_PORT)}/test?directConnection=true&retryWrites=false"
    backend = Backend("containers", f"amqp://guest:guest@{amqp}/%2F", database, functools.partial(_exec_ctl, rabbit))
    await _until(lambda: _speaks_amqp(backend.amqp_url))
    await _until(lambda: _speaks_mongo(backend.mongo_url))
    return backend


def _address(container: DockerContainer, port: int) -> str:
    return f"{container.get_container_host_ip()}:{container.get_exposed_port(port)}"


async def _exec_ctl(container: DockerContainer, arguments: Sequence[str]) -> str:
    result = await asyncio.to_thread(container.exec, ["rabbitmqctl", "-q", *arguments])
    if result.exit_code:
        raise StackError(f"rabbitmqctl {arguments[0]}: {result.output.decode()}")
    return result.output.decode()


async def _until(ready: Callable[[], Awaitable[None]]) -> None:
    """Wait until `ready` no longer raises; at the deadline raise its last exception."""
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        try:
            return await ready()
        except (OSError, AMQPError, PyMongoError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)


async def _speaks_amqp(url: str) -> None:
    await (await aio_pika.connect(url, timeout=2)).close()


async def _speaks_mongo(url: str) -> None:
    with pymongo.MongoClient[dict[str, object]](url, serverSelectionTimeoutMS=1000) as client:
        await asyncio.to_thread(client.admin.command, "ping")
