"""A database for tests with faults: a private one behind a proxy, or an operator's own replica set."""

import contextlib
import os
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import OperationFailure
from yarl import URL

from dev.mongo import MongoServer
from tests.faults.fail_command import FaultyDatabase, MongodFailPoints
from tests.faults.mongo_link import MongoLink

#: URL of an operator's own database. Tests create databases of their own there and drop them.
OWN_DATABASE = "FAULTS_MONGO_URL"


@dataclass(frozen=True)
class DatabaseStack:
    """A database without faults at `url`, and the same database through two ways to inject them."""

    url: str
    faulty: FaultyDatabase
    """mongod's own fail points if it has them, otherwise the proxy."""
    proxy: MongoLink
    """For what mongod's fail points cannot do."""


@contextlib.asynccontextmanager
async def database_stack(directory: Path) -> AsyncIterator[DatabaseStack]:
    """Start a private database, or use the operator's own one.

    All connections have retryable writes. They ask for the primary again after an error: servers that
    never changed their primary announce no change by themselves.
    """
    async with contextlib.AsyncExitStack() as undo:
        own = URL(os.environ.get(OWN_DATABASE, ""))
        if own.host is None:
            server = MongoServer(directory)
            undo.push_async_callback(server.stop)
            await server.start()
            own = URL(server.url)
        options = {"retryWrites": "true", "serverMonitoringMode": "poll"}
        if own.user and "authSource" not in own.query:  # the path, which names it otherwise, is replaced
            options["authSource"] = own.path.strip("/") or "admin"
        url = str(own.with_path(f"/test_{uuid.uuid4().hex[:12]}").with_query({**own.query, **options}))
        primary = await _primary(url, undo)
        proxy = await undo.enter_async_context(MongoLink(str(primary)))
        failing = await _has_fail_points(url)
        yield DatabaseStack(url, MongodFailPoints(url) if failing else proxy, proxy)


async def _primary(url: str, undo: contextlib.AsyncExitStack) -> URL:
    """Return the URL of the primary alone, which a proxy can stand in front of. The database is dropped at the end."""
    client: AsyncIOMotorClient[dict[str, object]] = AsyncIOMotorClient(url)
    undo.callback(client.close)
    undo.push_async_callback(client.drop_database, URL(url).path.removeprefix("/"))
    hello = await client.admin.command("hello")
    host, _, port = str(hello.get("primary") or hello.get("me") or URL(url).authority).rpartition(":")
    options = {name: value for name, value in URL(url).query.items() if name not in {"replicaSet", "directConnection"}}
    return URL(url).with_host(host).with_port(int(port)).with_query(options)


async def _has_fail_points(url: str) -> bool:
    client: AsyncIOMotorClient[dict[str, object]] = AsyncIOMotorClient(url)
    try:
        await client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
    except OperationFailure:
        return False
    else:
        return True
    finally:
        client.close()
