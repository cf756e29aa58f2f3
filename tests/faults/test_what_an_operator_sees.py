"""The table of docs/operations.md: what a failure is in the logs and in the metrics, and that it is over afterwards."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import aio_pika
import httpx
import pytest
import pytest_asyncio

from dev.ports import free_port
from shared.contracts.errors import AuthError, Overloaded, Unavailable
from tests.faults.load import PASSWORD
from tests.faults.metrics import told
from tests.faults.stack import Crashable, Stack, running_stack
from tests.faults.transports import PATIENCE_SECONDS, until_ready

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

EDGE, OTHERS, PASSWORDS = "api-0", "worker-verify-0", "worker-password-0"
#: Far less than come at once.
QUEUE_LENGTH = 4


@dataclass(frozen=True)
class Watched:
    """A stack, and what an operator has of it."""

    stack: Stack
    ports: Mapping[str, int]

    def begin(self) -> None:
        """What is in the logs already is not looked at."""
        for process in self.stack.service.processes.values():
            process.log_path.write_text("")  # the processes append to it

    async def logs(self, name: str, event: str, **members: object) -> None:
        """Returns when this process has a line whose event begins so, with these members. Raises `TimeoutError`."""
        path = self.stack.process(name).log_path
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not any(  # noqa: ASYNC110 (it is another process that writes it)
                line["event"].startswith(event) and members.items() <= line.items()
                for line in map(json.loads, _lines(path.read_text()))
            ):
                await asyncio.sleep(0.05)

    async def tells(self, name: str, metric: str, **labels: str) -> float:
        """What a process says of itself; 0 of what has not happened yet."""
        return await told(self.ports[name], metric, **labels)

    async def until_tells(self, name: str, metric: str, value: float) -> None:
        """Returns when the metric has this value. Raises `TimeoutError`."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self.tells(name, metric) != value:  # noqa: ASYNC110 (it is another process that says so)
                await asyncio.sleep(0.05)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(crashable: Crashable, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    ports = {name: free_port() for name in (EDGE, OTHERS, PASSWORDS)}
    async with running_stack(
        tmp_path_factory.mktemp("operator"),
        crashable,
        workers=1,
        env={"AUTH_PASSWORD_QUEUE_LENGTH": str(QUEUE_LENGTH)},
        env_of={name: {"AUTH_METRICS_PORT": str(port)} for name, port in ports.items()},
    ) as stack:
        yield Watched(stack, ports)


async def test_a_lane_without_workers(watched: Watched) -> None:
    """The edge's refusals, by route; and that it is not ready, which is seen also while nobody logs in."""
    watched.begin()
    await watched.stack.process(PASSWORDS).kill()
    await _refused(watched.stack, Unavailable)
    await watched.logs(EDGE, "request", route="/auth", status=503, code="unavailable")
    assert await watched.tells(EDGE, "edge_requests_total", method="POST", route="/auth", status="503") >= 1
    ready = f"{watched.stack.service.urls[0]}/health/ready"
    async with asyncio.timeout(PATIENCE_SECONDS), httpx.AsyncClient(trust_env=False) as http:
        while "worker:password" not in (await http.get(ready)).text:  # noqa: ASYNC110 - an answer is shared for a moment
            await asyncio.sleep(0.1)
    # What JincorAuthNotReady goes by.
    assert await watched.tells(EDGE, "edge_requests_total", method="GET", route="/health/ready", status="503") >= 1
    await watched.stack.start_again(PASSWORDS)
    await until_ready(watched.stack.service.urls)


async def test_the_broker_is_away(watched: Watched) -> None:
    """Everybody says that it is, until it is back."""
    watched.begin()
    await watched.stack.node.kill()
    for name, metric in ((EDGE, "edge_broker_connected"), (OTHERS, "worker_broker_connected")):
        await watched.logs(name, "connection to the broker is lost, connecting again")
        await watched.logs(name, "broker is not usable, trying again")
        await watched.until_tells(name, metric, 0)
    await watched.stack.node.start()
    await until_ready(watched.stack.service.urls)
    for name, metric in ((EDGE, "edge_broker_connected"), (OTHERS, "worker_broker_connected")):
        await watched.until_tells(name, metric, 1)


async def test_an_alarm_of_the_broker(watched: Watched) -> None:
    """The edge cannot send requests, and says so."""
    watched.begin()
    try:
        await watched.stack.node.ctl("set_vm_memory_high_watermark", "0.0001")
        await _refused(watched.stack, Unavailable)
        await watched.logs(EDGE, "broker takes no requests: an alarm")
        await watched.until_tells(EDGE, "edge_broker_connected", 0)
    finally:
        await watched.stack.node.ctl("set_vm_memory_high_watermark", "0.4")
    await watched.logs(EDGE, "broker takes requests again")
    await until_ready(watched.stack.service.urls)
    await watched.until_tells(EDGE, "edge_broker_connected", 1)


async def test_the_database_is_away(watched: Watched) -> None:
    """Workers answer for it, and sweep in vain."""
    watched.begin()
    failed = await watched.tells(OTHERS, "worker_sweeps_total", sweep="finish", result="failed")
    await watched.stack.server.kill()
    with pytest.raises(Unavailable):
        await watched.stack.tenant.revoke_all("nobody")
    await watched.logs(OTHERS, "database is away")
    await watched.logs(OTHERS, "sweep failed, trying again")
    sweep = {"sweep": "finish", "result": "failed"}  # the line may be of the other sweep
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await watched.tells(OTHERS, "worker_sweeps_total", **sweep) <= failed:  # noqa: ASYNC110 (a process counts)
            await asyncio.sleep(0.05)
    answered = {"operation": "session.revoke_all", "code": "unavailable"}
    assert await watched.tells(OTHERS, "worker_requests_total", **answered) >= 1
    await watched.stack.server.start()
    await until_ready(watched.stack.service.urls)


async def test_more_logins_than_can_be_hashed(watched: Watched) -> None:
    """The edge refuses, and the workers are at their limit."""
    watched.begin()
    before = await watched.tells(EDGE, "edge_requests_total", method="POST", route="/auth", status="503")
    await watched.stack.tenant.create("ann", PASSWORD)
    busy = asyncio.create_task(_busy(watched))
    outcomes: list[str] = []
    while not busy.done():
        outcomes += await asyncio.gather(*(_login(watched.stack, "ann") for _ in range(8 * QUEUE_LENGTH)))
    await busy
    refused = outcomes.count(Overloaded.code)
    assert refused
    await watched.logs(EDGE, "request", route="/auth", status=503, code=Overloaded.code)
    after = await watched.tells(EDGE, "edge_requests_total", method="POST", route="/auth", status="503")
    assert after - before == refused


async def test_garbage_in_the_queues(watched: Watched) -> None:
    """It is counted where it was taken."""
    watched.begin()
    async with await aio_pika.connect(watched.stack.node.amqp_url) as connection:
        channel = await connection.channel()
        rpc = await channel.get_exchange("rpc", ensure=False)
        await rpc.publish(aio_pika.Message(b"\xff", content_type="application/json"), "auth.logout")
        await watched.logs(OTHERS, "request", operation="auth.logout", code="bad_request")
    assert await watched.tells(OTHERS, "worker_requests_total", operation="auth.logout", code="bad_request") == 1


async def _busy(watched: Watched) -> None:
    """Returns when all threads that hash are at work."""
    slots = await watched.tells(PASSWORDS, "worker_hash_slots")
    await watched.until_tells(PASSWORDS, "worker_hash_slots_in_use", slots)


async def _refused(stack: Stack, error: type[AuthError]) -> None:
    """Returns when logins are refused so."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await _login(stack) != error.code:  # noqa: ASYNC110 (others bring it about)
            await asyncio.sleep(0.05)


async def _login(stack: Stack, user: str = "nobody") -> str:
    """What it was answered."""
    try:
        await stack.tenant.login(user, PASSWORD)
    except AuthError as error:
        return str(error.code)
    return "ok"


def _lines(text: str) -> list[str]:
    """Those that are written to their end."""
    return text.splitlines()[: text.count("\n")]
