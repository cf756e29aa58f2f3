"""Crashes of the broker and of the database under load."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

import aio_pika
import httpx
import pytest
import pytest_asyncio

from dev.mongo import MongoServer
from dev.processes import POLL_SECONDS
from dev.rabbitmq import RabbitNode
from shared.contracts.events import SessionRevokedEvent
from tests.backends import Backend
from tests.e2e.tenant import Tenant
from tests.service import RunningService, refused_readiness, running_service

#: Ends a test that would otherwise wait forever.
PATIENCE_SECONDS = 60
#: Statuses during an outage: not done, or outcome unknown.
REFUSALS = {503, 504}


@dataclass(frozen=True)
class Stack:
    """A service on a broker and a database of its own, so that a test may kill them."""

    node: RabbitNode
    server: MongoServer
    service: RunningService


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    if backend.kind != "local":
        pytest.skip("kills a broker and a database that it starts itself: only the local stack can do that")
    directory = tmp_path_factory.mktemp("outages")
    node, server = RabbitNode(directory / "rabbitmq"), MongoServer(directory / "mongo")
    async with contextlib.AsyncExitStack() as undo:
        # Their data is not needed again, so they are killed.
        for stop in (node.stop, node.kill, server.kill):
            undo.push_async_callback(stop)
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


async def test_acknowledged_writes_survive_a_crash_of_the_database(
    stack: Stack, http: httpx.AsyncClient, tenant: Tenant
) -> None:
    """Callers get 503 and readiness names the database until it is back."""
    token = await tenant.token_of("ann")
    logins = (f"user-{number}" for number in range(10_000))
    writers = Writers(tenant.create, logins, enough=10)
    async with writers.under_load(4):
        await stack.server.kill()

    refused, ready = await asyncio.gather(tenant.verify(token), refused_readiness(http))
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert (ready.status_code, ready.json()["missing"]) == (503, ["database"])

    await stack.server.start()
    await _until_ready(http)
    assert (await tenant.verify(token)).status_code == 200
    assert (await tenant.login("ann")).status_code == 200
    listed = (await tenant.call("GET", "/user", params={"limit": 100})).json()["users"]
    assert {user["login"] for user in listed} >= set(writers.acknowledged)


async def test_service_recovers_from_a_crash_of_the_broker_and_announces_every_revocation(
    stack: Stack, http: httpx.AsyncClient, tenant: Tenant
) -> None:
    """The same processes serve when the broker is back."""
    pids = {name: process.pid for name, process in stack.service.processes.items()}
    tokens = await asyncio.gather(*(tenant.token_of("ann") for _ in range(30)))
    sessions = {token: (await tenant.verify(token)).json()["decoded"]["jti"] for token in tokens}
    await _revocations(stack.node.amqp_url, enough=set())  # declares the queue that collects them

    writers = Writers(tenant.logout, iter(sessions), enough=5)
    async with writers.under_load(3):
        await stack.node.kill()

    refused, ready = await asyncio.gather(tenant.login("ann"), http.get("/health/ready"))
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert (ready.status_code, ready.json()["missing"]) == (503, ["broker"])

    await stack.node.start()
    await _until_ready(http)
    assert all(process.running for process in stack.service.processes.values())
    assert {name: process.pid for name, process in stack.service.processes.items()} == pids
    assert (await tenant.login("ann")).status_code == 200
    dead = {token for token in sessions if (await tenant.verify(token)).status_code == 400}
    assert dead >= set(writers.acknowledged)
    revoked = {sessions[token] for token in dead}
    assert await _revocations(stack.node.amqp_url, enough=revoked) == revoked


class Writers:
    """Write one item after the other until refused; `acknowledged` lists the items answered with 200."""

    def __init__(self, write: Callable[[str], Awaitable[httpx.Response]], items: Iterator[str], enough: int) -> None:
        self.acknowledged: list[str] = []
        self._write = write
        self._things = items
        self._enough = enough
        self._are_enough = asyncio.Event()

    @contextlib.asynccontextmanager
    async def under_load(self, count: int) -> AsyncIterator[None]:
        """The block begins after `enough` writes, and must end the writing."""
        async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as tasks:
            for _ in range(count):
                tasks.create_task(self._work())
            await self._are_enough.wait()
            yield

    async def _work(self) -> None:
        for item in self._things:
            response = await self._write(item)
            if response.status_code != 200:
                assert response.status_code in REFUSALS, response.text
                return
            self.acknowledged.append(item)
            if len(self.acknowledged) >= self._enough:
                self._are_enough.set()
        raise AssertionError("never refused")


async def _until_ready(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (await http.get("/health/ready")).is_success:  # noqa: ASYNC110 (other processes become ready)
            await asyncio.sleep(POLL_SECONDS)


async def _revocations(amqp_url: str, enough: set[str]) -> set[str]:
    """Return the sessions that a durable queue received since the first call, once `enough` are among them."""
    received: set[str] = set()
    async with await aio_pika.connect(amqp_url) as connection, asyncio.timeout(PATIENCE_SECONDS):
        channel = await connection.channel()
        audit = await channel.declare_queue("audit", durable=True)
        await audit.bind("events", routing_key="session.revoked.*")
        async with audit.iterator() as messages:
            while not received >= enough:
                message = await anext(messages)
                await message.ack()
                received.add(SessionRevokedEvent.model_validate_json(message.body).data.session_id)
    return received
