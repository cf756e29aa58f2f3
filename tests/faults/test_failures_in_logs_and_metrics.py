"""The failures in the table of docs/operations.md, as logs and metrics show them."""

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
from tests.faults.metrics import metric_value
from tests.faults.stack import Crashable, Stack, running_stack
from tests.faults.transports import PATIENCE_SECONDS, until_ready

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

EDGE, VERIFY, PASSWORDS = "api-0", "worker-verify-0", "worker-password-0"
#: Far less than the concurrent logins.
QUEUE_LENGTH = 4


@dataclass(frozen=True)
class Watched:
    """A stack with its metrics ports."""

    stack: Stack
    ports: Mapping[str, int]

    def clear_logs(self) -> None:
        """Empty the logs."""
        for process in self.stack.service.processes.values():
            process.log_path.write_text("")  # the processes append to it

    async def logs(self, name: str, event: str, **members: object) -> None:
        """Wait until this process has logged an event with this prefix and these members. Raise `TimeoutError`."""
        path = self.stack.process(name).log_path
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not any(  # noqa: ASYNC110 (another process writes it)
                line["event"].startswith(event) and members.items() <= line.items()
                for line in map(json.loads, _lines(path.read_text()))
            ):
                await asyncio.sleep(0.05)

    async def metric(self, name: str, metric: str, **labels: str) -> float:
        """Return a metric of a process; 0 if it does not exist yet."""
        return await metric_value(self.ports[name], metric, **labels)

    async def until_metric(self, name: str, metric: str, value: float) -> None:
        """Wait until the metric has this value. Raise `TimeoutError`."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self.metric(name, metric) != value:  # noqa: ASYNC110 (another process changes it)
                await asyncio.sleep(0.05)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(crashable: Crashable, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    ports = {name: free_port() for name in (EDGE, VERIFY, PASSWORDS)}
    async with running_stack(
        tmp_path_factory.mktemp("operator"),
        crashable,
        workers=1,
        env={"AUTH_PASSWORD_QUEUE_LENGTH": str(QUEUE_LENGTH)},
        env_of={name: {"AUTH_METRICS_PORT": str(port)} for name, port in ports.items()},
    ) as stack:
        yield Watched(stack, ports)


async def test_lane_without_workers_is_in_logs_metrics_and_readiness(watched: Watched) -> None:
    """Readiness shows it also while no caller logs in."""
    watched.clear_logs()
    await watched.stack.process(PASSWORDS).kill()
    await _until_refused(watched.stack, Unavailable)
    await watched.logs(EDGE, "request", route="/auth", status=503, code="unavailable")
    assert await watched.metric(EDGE, "edge_requests_total", method="POST", route="/auth", status="503") >= 1
    ready = f"{watched.stack.service.urls[0]}/health/ready"
    async with asyncio.timeout(PATIENCE_SECONDS), httpx.AsyncClient(trust_env=False) as http:
        while "worker:password" not in (await http.get(ready)).text:  # noqa: ASYNC110 - readiness is cached for a moment
            await asyncio.sleep(0.1)
    # The alert JincorAuthNotReady uses this metric.
    assert await watched.metric(EDGE, "edge_requests_total", method="GET", route="/health/ready", status="503") >= 1
    await watched.stack.start_again(PASSWORDS)
    await until_ready(watched.stack.service.urls)


async def test_lost_broker_is_in_logs_and_metrics_until_it_is_back(watched: Watched) -> None:
    watched.clear_logs()
    await watched.stack.node.kill()
    for name, metric in ((EDGE, "edge_broker_connected"), (VERIFY, "worker_broker_connected")):
        await watched.logs(name, "connection to the broker is lost, connecting again")
        await watched.logs(name, "broker is not usable, trying again")
        await watched.until_metric(name, metric, 0)
    await watched.stack.node.start()
    await until_ready(watched.stack.service.urls)
    for name, metric in ((EDGE, "edge_broker_connected"), (VERIFY, "worker_broker_connected")):
        await watched.until_metric(name, metric, 1)


async def test_broker_alarm_is_in_logs_and_metrics_until_it_ends(watched: Watched) -> None:
    watched.clear_logs()
    try:
        await watched.stack.node.ctl("set_vm_memory_high_watermark", "0.0001")
        await _until_refused(watched.stack, Unavailable)
        await watched.logs(EDGE, "broker takes no requests: an alarm")
        await watched.until_metric(EDGE, "edge_broker_connected", 0)
    finally:
        await watched.stack.node.ctl("set_vm_memory_high_watermark", "0.4")
    await watched.logs(EDGE, "broker takes requests again")
    await until_ready(watched.stack.service.urls)
    await watched.until_metric(EDGE, "edge_broker_connected", 1)


async def test_lost_database_is_in_logs_and_metrics(watched: Watched) -> None:
    watched.clear_logs()
    failed = await watched.metric(VERIFY, "worker_sweeps_total", sweep="finish", result="failed")
    await watched.stack.server.kill()
    with pytest.raises(Unavailable):
        await watched.stack.tenant.revoke_all("nobody")
    await watched.logs(VERIFY, "database is away")
    await watched.logs(VERIFY, "sweep failed, trying again")
    sweep = {"sweep": "finish", "result": "failed"}  # the line may be of the other sweep
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await watched.metric(VERIFY, "worker_sweeps_total", **sweep) <= failed:  # noqa: ASYNC110 (a process counts)
            await asyncio.sleep(0.05)
    answered = {"operation": "session.revoke_all", "code": "unavailable"}
    assert await watched.metric(VERIFY, "worker_requests_total", **answered) >= 1
    await watched.stack.server.start()
    await until_ready(watched.stack.service.urls)


async def test_overload_of_logins_is_in_logs_and_metrics(watched: Watched) -> None:
    watched.clear_logs()
    before = await watched.metric(EDGE, "edge_requests_total", method="POST", route="/auth", status="503")
    await watched.stack.tenant.create("ann", PASSWORD)
    busy = asyncio.create_task(_until_busy(watched))
    outcomes: list[str] = []
    while not busy.done():
        outcomes += await asyncio.gather(*(_login(watched.stack, "ann") for _ in range(8 * QUEUE_LENGTH)))
    await busy
    refused = outcomes.count(Overloaded.code)
    assert refused
    await watched.logs(EDGE, "request", route="/auth", status=503, code=Overloaded.code)
    after = await watched.metric(EDGE, "edge_requests_total", method="POST", route="/auth", status="503")
    assert after - before == refused


async def test_malformed_message_is_in_logs_and_metrics(watched: Watched) -> None:
    watched.clear_logs()
    async with await aio_pika.connect(watched.stack.node.amqp_url) as connection:
        channel = await connection.channel()
        rpc = await channel.get_exchange("rpc", ensure=False)
        await rpc.publish(aio_pika.Message(b"\xff", content_type="application/json"), "auth.logout")
        await watched.logs(VERIFY, "request", operation="auth.logout", code="bad_request")
    assert await watched.metric(VERIFY, "worker_requests_total", operation="auth.logout", code="bad_request") == 1


async def _until_busy(watched: Watched) -> None:
    """Wait until all hash slots are in use."""
    slots = await watched.metric(PASSWORDS, "worker_hash_slots")
    await watched.until_metric(PASSWORDS, "worker_hash_slots_in_use", slots)


async def _until_refused(stack: Stack, error: type[AuthError]) -> None:
    """Wait until logins are refused with this error."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await _login(stack) != error.code:  # noqa: ASYNC110 (other processes change the condition)
            await asyncio.sleep(0.05)


async def _login(stack: Stack, user: str = "nobody") -> str:
    """Return the code of a login."""
    try:
        await stack.tenant.login(user, PASSWORD)
    except AuthError as error:
        return str(error.code)
    return "ok"


def _lines(text: str) -> list[str]:
    """Return the complete lines."""
    return text.splitlines()[: text.count("\n")]
