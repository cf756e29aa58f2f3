"""Processes that stop or are killed while they serve requests."""

import asyncio
import contextlib
import functools
import itertools
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import aio_pika
import httpx
import pytest
import pytest_asyncio
from yarl import URL

from dev.processes import POLL_SECONDS, REPOSITORY, ChildProcess
from shared.contracts.events import SessionRevokedEvent
from shared.process.environment import EX_CONFIG
from tests.backends import Backend
from tests.e2e.tenant import Tenant
from tests.service import RunningService, running_service

#: Ends a test that would otherwise wait forever.
PATIENCE_SECONDS = 30
#: Longer than a test freezes processes, so that no reply is late.
REPLY_TIMEOUT_SECONDS = 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningService]:
    """Two processes of each kind; each test leaves all of them running."""
    async with running_service(
        tmp_path_factory.mktemp("processes"),
        await backend.vhost(),
        backend.database_url(),
        edges=2,
        workers=2,
        env={"AUTH_REPLY_TIMEOUT_SECONDS": str(REPLY_TIMEOUT_SECONDS), "AUTH_LOG_VERIFY_SAMPLE": "1"},
    ) as running:
        yield running


@pytest_asyncio.fixture
async def edges(service: RunningService) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """A client of each edge."""
    first, second = service.urls
    async with (
        httpx.AsyncClient(base_url=first, timeout=PATIENCE_SECONDS) as of_first,
        httpx.AsyncClient(base_url=second, timeout=PATIENCE_SECONDS) as of_second,
    ):
        yield of_first, of_second


@pytest_asyncio.fixture
async def tenant(edges: tuple[httpx.AsyncClient, httpx.AsyncClient]) -> Tenant:
    """A tenant with the user `ann`, at the first edge."""
    tenant = await Tenant.register(edges[0])
    assert (await tenant.create("ann")).status_code == 200
    return tenant


QueueLength = Callable[[str], Awaitable[int | None]]


@pytest.fixture
def queue_length(backend: Backend, service: RunningService) -> QueueLength:
    """Return the number of requests in a queue or held by its workers; None without such a queue."""

    async def count(queue: str) -> int | None:
        vhost = URL(service.amqp_url).path.removeprefix("/")
        lines = (await backend.ctl(["list_queues", "-p", vhost, "name", "messages"])).splitlines()
        return next((int(line.split()[1]) for line in lines if line.split()[0] == queue), None)

    return count


@pytest.mark.parametrize(
    "case", [("password", "auth.login", 8), ("verify", "auth.verify", 4)], ids=["password", "verify"]
)
async def test_stopping_worker_finishes_the_requests_it_holds(
    service: RunningService,
    edges: tuple[httpx.AsyncClient, httpx.AsyncClient],
    tenant: Tenant,
    queue_length: QueueLength,
    case: tuple[str, str, int],
) -> None:
    """The worker exits with 0, and the other worker continues alone."""
    # Each edge sends two batches of verifications and holds the others back until one stalls.
    kind, operation, messages = case
    token = await tenant.token_of("ann")

    def request(edge: httpx.AsyncClient) -> Awaitable[httpx.Response]:
        there = tenant.through(edge)
        return there.login("ann") if kind == "password" else there.verify(token)

    stopped, other = (service.processes[f"worker-{kind}-{number}"] for number in range(2))
    done_before = _requests_of(stopped, operation)
    with frozen(stopped, other):
        requests = [asyncio.ensure_future(request(edge)) for edge in edges * 4]
        await _until(_reaches(queue_length, f"rpc.{kind}", messages))
        os.kill(stopped.pid, signal.SIGTERM)
    assert [response.status_code for response in await asyncio.gather(*requests)] == [200] * 8
    assert await asyncio.wait_for(stopped.wait(), PATIENCE_SECONDS) == 0
    assert _requests_of(stopped, operation) > done_before
    assert [(await request(edge)).status_code for edge in edges] == [200, 200]
    await _start_again(stopped)


async def test_stopping_edge_answers_the_requests_in_flight(
    service: RunningService,
    edges: tuple[httpx.AsyncClient, httpx.AsyncClient],
    tenant: Tenant,
    queue_length: QueueLength,
) -> None:
    """The edge stops listening and exits with 0, while the other edge serves."""
    edge = service.processes["api-0"]
    token = await tenant.token_of("ann")
    with frozen(*(service.processes[f"worker-password-{number}"] for number in range(2))):
        logins = [asyncio.ensure_future(tenant.login("ann")) for _ in range(6)]
        await _until(_equals(queue_length, "rpc.password", 6))
        os.kill(edge.pid, signal.SIGTERM)
        await _until(lambda: _refuses(service.urls[0]))
        assert (await tenant.through(edges[1]).verify(token)).status_code == 200
        assert edge.running
    assert [response.status_code for response in await asyncio.gather(*logins)] == [200] * 6
    assert await asyncio.wait_for(edge.wait(), PATIENCE_SECONDS) == 0
    await _start_again(edge, service.urls[0])


async def test_requests_of_a_killed_worker_are_done_by_another(
    service: RunningService, tenant: Tenant, queue_length: QueueLength
) -> None:
    killed, other = (service.processes[f"worker-password-{number}"] for number in range(2))
    with frozen(killed, other):
        logins = [asyncio.ensure_future(tenant.login("ann")) for _ in range(6)]
        await _until(_equals(queue_length, "rpc.password", 6))
        await killed.kill()
    assert [response.status_code for response in await asyncio.gather(*logins)] == [200] * 6
    await _start_again(killed)


async def test_logins_without_a_password_worker_are_refused_at_once(
    service: RunningService,
    edges: tuple[httpx.AsyncClient, httpx.AsyncClient],
    tenant: Tenant,
    queue_length: QueueLength,
) -> None:
    """Verification continues, and readiness names the lane."""
    token = await tenant.token_of("ann")
    workers = [service.processes[f"worker-password-{number}"] for number in range(2)]
    for worker in workers:
        await worker.kill()
    await _until(_equals(queue_length, "rpc.password", None))
    await _until(_equals(queue_length, "rpc.password.health", None))

    started = time.monotonic()
    refused = await tenant.login("ann")
    assert time.monotonic() - started < REPLY_TIMEOUT_SECONDS / 4
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert (await tenant.verify(token)).status_code == 200
    ready = await edges[0].get("/health/ready")
    assert (ready.status_code, ready.json()["missing"]) == (503, ["worker:password"])

    for worker in workers:
        await _start_again(worker)
    assert (await edges[0].get("/health/ready")).status_code == 200
    assert (await tenant.login("ann")).status_code == 200


async def test_rolling_restart_under_load_fails_no_request(
    service: RunningService, edges: tuple[httpx.AsyncClient, httpx.AsyncClient], tenant: Tenant
) -> None:
    token = await tenant.token_of("ann")
    balancer = Balancer(dict(zip(service.urls, edges, strict=True)))
    answers = Counter[tuple[str, int]]()
    finished = asyncio.Event()

    async def load(name: str, request: Callable[[Tenant], Awaitable[httpx.Response]]) -> None:
        while not finished.is_set():
            async with balancer.edge() as edge:
                response = await request(tenant.through(edge))
            answers[name, response.status_code] += 1
            await asyncio.sleep(0.05)  # leaves processor time for processes to start

    async with asyncio.TaskGroup() as loads:
        for _ in range(4):
            loads.create_task(load("verify", lambda there: there.verify(token)))
        loads.create_task(load("login", lambda there: there.login("ann")))
        urls = {f"api-{number}": url for number, url in enumerate(service.urls)}
        for name, process in service.processes.items():
            async with balancer.without(urls.get(name)):
                assert await process.terminate() == 0, name
                await _start_again(process, urls.get(name))
            await _until(functools.partial(_exceeds, answers.total, answers.total() + 20))
        finished.set()
    assert {status for _, status in answers} == {200}, answers
    assert answers["login", 200] >= len(service.processes)


async def test_revocation_of_a_killed_worker_is_announced_by_the_next_sweep(
    backend: Backend, service: RunningService, tenant: Tenant
) -> None:
    """The worker could not publish before it was killed."""
    vhost, user = URL(service.amqp_url).path.removeprefix("/"), URL(service.amqp_url).user or ""
    workers = [service.processes[f"worker-verify-{number}"] for number in range(2)]
    token = await tenant.token_of("ann")
    session = (await tenant.verify(token)).json()["decoded"]["jti"]
    async with await aio_pika.connect(service.amqp_url) as connection:
        channel = await connection.channel()
        audit = await channel.declare_queue("audit", durable=True)
        await audit.bind("events", routing_key=f"session.revoked.{tenant.id}")

        await backend.ctl(["set_permissions", "-p", vhost, user, ".*", "^(?!events$)", ".*"])
        assert (await tenant.logout(token)).status_code == 200
        assert (await tenant.verify(token)).status_code == 400
        for worker in workers:
            await worker.kill()
        await backend.ctl(["set_permissions", "-p", vhost, user, ".*", ".*", ".*"])
        assert await audit.get(fail=False) is None

        for worker in workers:
            await _start_again(worker)
        async with asyncio.timeout(PATIENCE_SECONDS), audit.iterator() as messages:
            message = await anext(messages)
            await message.ack()
    event = SessionRevokedEvent.model_validate_json(message.body)
    assert (event.data.session_id, event.data.reason) == (session, "logout")


@pytest.mark.parametrize(
    ("argv", "settings", "named"),
    [
        (["worker"], {}, ["AMQP_URL", "MONGO_URL", "AUTH_LANES", "AUTH_MASTER_KEYS"]),
        (
            ["worker", "--lanes", "hunter22"],
            {
                "AMQP_URL": "http://user:hunter22@localhost",
                "MONGO_URL": "mongodb://user:hunter22@localhost",
                "AUTH_MASTER_KEYS": "k1:aHVudGVyMjI=",
                "AUTH_HASH_MEMORY_KIB": "1",
            },
            ["AMQP_URL.0", "AUTH_LANES.0", "AUTH_MASTER_KEYS", "AUTH_HASH_MEMORY_KIB"],
        ),
        (["api"], {"AMQP_URL": "user:hunter22@localhost", "AUTH_PORT": "hunter22"}, ["AMQP_URL.0", "AUTH_PORT"]),
    ],
)
async def test_process_with_invalid_settings_names_them_without_values(
    argv: list[str], settings: dict[str, str], named: list[str]
) -> None:
    """It exits with a code of its own and prints no traceback."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *argv,
        env={"PATH": os.environ["PATH"], **settings},
        cwd=REPOSITORY,
        stdout=PIPE,
        stderr=PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    lines = errors.decode().splitlines()
    assert process.returncode == EX_CONFIG
    assert output == b""
    assert sorted(line.split(": ")[1] for line in lines) == sorted(named), lines
    assert all(line.startswith("configuration error: ") for line in lines)
    assert "hunter22" not in errors.decode()
    assert "aHVudGVyMjI" not in errors.decode()


class Balancer:
    """A load balancer that alternates between edges and drains an edge before it stops."""

    def __init__(self, edges: dict[str, httpx.AsyncClient]) -> None:
        self._edges = edges
        self._draining: str | None = None
        self._in_flight = Counter[str]()
        self._turn = itertools.cycle(edges)

    @contextlib.asynccontextmanager
    async def edge(self) -> AsyncIterator[httpx.AsyncClient]:
        url = next(url for url in self._turn if url != self._draining)
        self._in_flight[url] += 1
        try:
            yield self._edges[url]
        finally:
            self._in_flight[url] -= 1

    @contextlib.asynccontextmanager
    async def without(self, url: str | None) -> AsyncIterator[None]:
        """Send nothing to this edge inside the block, which begins when the edge has no request in flight."""
        self._draining = url
        await _until(functools.partial(_is_idle, self._in_flight, url))
        yield
        self._draining = None


@contextlib.contextmanager
def frozen(*processes: ChildProcess) -> Iterator[None]:
    """Suspend these processes inside the block."""
    for process in processes:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            if process.running:
                os.kill(process.pid, signal.SIGCONT)


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await holds():  # noqa: ASYNC110 (other processes change the condition)
            await asyncio.sleep(POLL_SECONDS)


async def _exceeds(count: Callable[[], int], floor: int) -> bool:
    return count() > floor


async def _is_idle(in_flight: Counter[str], url: str | None) -> bool:
    return url is None or not in_flight[url]


def _reaches(queue_length: QueueLength, queue: str, expected: int) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return (await queue_length(queue) or 0) >= expected

    return holds


def _equals(queue_length: QueueLength, queue: str, expected: int | None) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return await queue_length(queue) == expected

    return holds


async def _refuses(url: str) -> bool:
    """Return whether nothing listens at this URL."""
    try:
        _, writer = await asyncio.open_connection(URL(url).host, URL(url).port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


def _requests_of(worker: ChildProcess, operation: str) -> int:
    return worker.log_path.read_text().count(f'"event": "request", "operation": "{operation}"')


async def _start_again(process: ChildProcess, url: str | None = None) -> None:
    """Start the process and wait until it serves: an edge listens, a worker logs it."""

    async def serves() -> bool:
        if url is None:
            return '"event": "taking requests"' in process.tail(1_000_000)
        return not await _refuses(url)

    process.start()
    await process.wait_until(serves, PATIENCE_SECONDS)
