"""The broker or the database dies and comes back: what callers hear meanwhile, and that nothing acknowledged is lost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import aio_pika
import httpx
import pytest
import pytest_asyncio

from dev.mongo import MongoServer
from dev.processes import POLL_SECONDS, ChildProcess
from dev.rabbitmq import RabbitNode
from shared.contracts.events import SessionRevokedEvent
from tests.backends import Backend
from tests.e2e.tenant import Tenant
from tests.service import RunningService, running_service

#: How long anything may take to happen that has to happen; ends a test that would otherwise wait for ever.
PATIENCE_SECONDS = 60
#: What a caller may hear while something is away: refused, or not known whether it was done.
REFUSALS = {503, 504}


@dataclass(frozen=True)
class Stack:
    """A service on a broker and a database that nobody else uses, so that they may be killed."""

    node: RabbitNode
    server: MongoServer
    service: RunningService


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    if backend.kind != "local":
        pytest.skip("kills a broker and a database, which it starts itself: only the local stack offers that")
    directory = tmp_path_factory.mktemp("outages")
    node, server = RabbitNode(directory / "rabbitmq"), MongoServer(directory / "mongo")
    async with contextlib.AsyncExitStack() as undo:
        undo.push_async_callback(node.stop)
        undo.push_async_callback(server.stop)
        await asyncio.gather(node.start(), server.start())
        service = await undo.enter_async_context(running_service(directory, node.amqp_url, server.url))
        yield Stack(node, server, service)


@pytest_asyncio.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stack.service.urls[0], timeout=PATIENCE_SECONDS) as client:
        yield client


@pytest_asyncio.fixture
async def tenant(http: httpx.AsyncClient) -> Tenant:
    """A tenant with the user `ann`."""
    tenant = await Tenant.register(http)
    assert (await tenant.create("ann")).status_code == 200
    return tenant


async def test_what_was_acknowledged_survives_a_crash_of_the_database(
    stack: Stack, http: httpx.AsyncClient, tenant: Tenant
) -> None:
    """Killed among writes, it is named by readiness and answered for with 503; back again, every acknowledged write is there."""
    token = await tenant.token_of("ann")
    acknowledged: list[str] = []

    async def create_until_refused(writer: int) -> int:
        for number in range(1_000):
            response = await tenant.create(f"user-{writer}-{number}")
            if response.status_code != 200:
                return response.status_code
            acknowledged.append(response.json()["login"])
        raise AssertionError("never refused")

    writers = [asyncio.create_task(create_until_refused(writer)) for writer in range(4)]
    await _until(lambda: len(acknowledged) >= 10)
    await stack.server.kill()
    assert set(await asyncio.gather(*writers)) <= REFUSALS

    refused = await tenant.verify(token)
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    ready = await http.get("/health/ready")
    assert (ready.status_code, ready.json()["missing"]) == (503, ["database"])

    await stack.server.start()
    await _until_ready(http)
    assert (await tenant.verify(token)).status_code == 200
    assert (await tenant.login("ann")).status_code == 200
    assert set(acknowledged) <= await _logins(tenant)


async def test_everything_recovers_from_a_crash_of_the_broker(
    stack: Stack, http: httpx.AsyncClient, tenant: Tenant
) -> None:
    """Killed among logouts, it comes back on its data to the same processes, and a durable queue gets every revocation."""
    pids = _pids(stack.service.processes.values())
    tokens = [await tenant.token_of("ann", f"device {number}") for number in range(40)]
    session_of = {token: (await tenant.verify(token)).json()["decoded"]["jti"] for token in tokens}
    await _bind_audit_queue(stack.node.amqp_url)
    waiting, acknowledged = list(tokens), list[str]()

    async def log_out_until_refused() -> int:
        while waiting:
            token = waiting.pop()
            response = await tenant.logout(token)
            if response.status_code != 200:
                return response.status_code
            acknowledged.append(token)
        raise AssertionError("never refused")

    async with asyncio.TaskGroup() as logouts:
        leaving = [logouts.create_task(log_out_until_refused()) for _ in range(3)]
        await _until(lambda: len(acknowledged) >= 5)
        await stack.node.kill()
    assert {each.result() for each in leaving} <= REFUSALS

    refused = await tenant.login("ann")
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    ready = await http.get("/health/ready")
    assert (ready.status_code, ready.json()["missing"]) == (503, ["broker"])

    await stack.node.start()
    await _until_ready(http)
    assert _pids(stack.service.processes.values()) == pids
    assert (await tenant.login("ann")).status_code == 200
    dead = {token for token in tokens if (await tenant.verify(token)).status_code == 400}
    assert dead >= set(acknowledged)
    assert await _audited(stack.node.amqp_url, {session_of[token] for token in dead})


def _pids(processes: object) -> list[int]:
    raise NotImplementedError
