"""A service for one test module, on a broker and a database that may be killed."""

import contextlib
import functools
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dev.mongo import MongoServer
from dev.processes import ChildProcess
from dev.rabbitmq import RabbitNode
from tests.faults.audit import audited, collect_events
from tests.faults.load import PASSWORD, Load
from tests.faults.profile import note
from tests.faults.transports import PATIENCE_SECONDS, Edges, OverAmqp, OverHttp, until_ready
from tests.service import RunningService, running_service, takes_requests

#: Far longer than an answered call takes, so that an earlier refusal is not a deadline.
REPLY_TIMEOUT_SECONDS = 6


@dataclass(frozen=True)
class Crashable:
    """A broker and a database that only these tests use."""

    node: RabbitNode
    server: MongoServer

    async def start_missing(self) -> None:
        """Start those that do not run."""
        for each in (self.node, self.server):
            if not each.process.running:
                await each.start()


@dataclass(frozen=True)
class Stack:
    """The service, its broker and database, and a tenant over both transports."""

    node: RabbitNode
    server: MongoServer
    service: RunningService
    edges: Edges
    tenant: OverHttp
    on_broker: OverAmqp

    def load(self, callers: int = 4) -> contextlib.AbstractAsyncContextManager[Load]:
        """Run callers over HTTP and AMQP, in equal parts."""
        return Load.running((self.tenant, self.on_broker), callers)

    async def audit(self, load: Load, title: str) -> None:
        """Wait until the service is ready, and audit everything that the load was answered."""
        await until_ready(self.service.urls)
        found = await audited(load.records, self.tenant, self.service.amqp_url, self.service.mongo_url)
        refusals = {code: count for code, count in load.records.codes().items() if code != "ok"}
        note(f"{title}: {dict(found)}, answers other than ok: {refusals}")

    async def start_again(self, name: str) -> None:
        """Start a process that has ended, and wait until it serves."""
        process = self.service.processes[name]
        process.start()
        if name.startswith("worker"):
            await process.wait_until(functools.partial(takes_requests, process), PATIENCE_SECONDS)
        else:
            await until_ready([self.service.urls[int(name.rpartition("-")[2])]])

    def process(self, name: str) -> ChildProcess:
        return self.service.processes[name]


@contextlib.asynccontextmanager
async def running_stack(
    directory: Path,
    crashable: Crashable,
    *,
    edges: int = 1,
    workers: int = 2,
    env: Mapping[str, str] | None = None,
    env_of: Mapping[str, Mapping[str, str]] | None = None,
) -> AsyncIterator[Stack]:
    """Run this many edges and workers of each kind, with a tenant and a queue that keeps all events."""
    node, server = crashable.node, crashable.server
    database = server.url.replace("/jincor_auth", f"/{directory.name.replace('-', '_')}")
    async with contextlib.AsyncExitStack() as undo:
        service = await undo.enter_async_context(
            running_service(
                directory,
                node.amqp_url,
                database,
                edges=edges,
                workers=workers,
                env={
                    "AUTH_REPLY_TIMEOUT_SECONDS": str(REPLY_TIMEOUT_SECONDS),
                    "AUTH_HASH_THREADS": "2",
                    **(env or {}),
                },
                env_of=env_of,
            )
        )
        await collect_events(node.amqp_url)
        balancer = await undo.enter_async_context(Edges(service.urls))
        tenant, _ = await OverHttp.register(balancer, PASSWORD)
        on_broker = await undo.enter_async_context(OverAmqp.connect(node.amqp_url, tenant.token, REPLY_TIMEOUT_SECONDS))
        yield Stack(node, server, service, balancer, tenant, on_broker)
