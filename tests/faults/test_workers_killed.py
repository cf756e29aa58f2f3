"""Workers that are killed under load."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from shared.contracts.errors import DeadlineExceeded, Unavailable
from tests.faults.load import PASSWORD
from tests.faults.profile import note
from tests.faults.stack import REPLY_TIMEOUT_SECONDS, Crashable, Stack, running_stack
from tests.faults.transports import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: 100 ms are required; the rest is slack for a machine with other load.
AT_ONCE_SECONDS = 0.1 + 0.4
#: Slack for a machine with other load.
SLACK_SECONDS = 2.0
#: Time for requests to reach the queue or a worker. No request fails while a worker exists.
WAITED_SECONDS = 0.5


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(crashable: Crashable, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("workers"), crashable) as running:
        yield running


@pytest.mark.parametrize("kind", ["verify", "password"])
async def test_killing_one_of_two_workers_lets_no_call_reach_its_deadline(stack: Stack, kind: str) -> None:
    """Callers get a reply or a clean refusal."""
    async with stack.load() as load:
        killed = time.monotonic()
        await stack.process(f"worker-{kind}-0").kill()
        await load.acknowledged(50, "http")
        assert load.records.slowest(since=killed) < REPLY_TIMEOUT_SECONDS
        await stack.start_again(f"worker-{kind}-0")
        await load.acknowledged(20, "http")
    await stack.audit(load, f"one of two {kind} workers killed")


@pytest.mark.parametrize("kind", ["verify", "password"])
async def test_killing_the_last_worker_refuses_new_calls_at_once(stack: Stack, kind: str) -> None:
    """Calls in flight fail at their deadline; nothing acknowledged is lost."""
    names = [f"worker-{kind}-{number}" for number in range(2)]
    await stack.tenant.create(f"ann-{kind}", PASSWORD)
    token = await stack.tenant.login(f"ann-{kind}", PASSWORD)
    async with stack.load() as load:
        for name in names:
            os.kill(
                stack.process(name).pid, signal.SIGSTOP
            )  # requests they hold, or that are queued, wait from here on
        started_at = time.monotonic()
        waiting = [asyncio.create_task(_ask(stack, kind, f"ann-{kind}", token)) for _ in range(8)]
        done, _ = await asyncio.wait(waiting, timeout=WAITED_SECONDS)
        assert not done
        for name in names:
            await stack.process(name).kill()
        await _until_gone(stack, kind)
        waits = []
        for _ in range(20):
            started = time.monotonic()
            with pytest.raises(Unavailable):
                await _ask(stack, kind, f"ann-{kind}", token)
            waits.append(time.monotonic() - started)
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        waited = time.monotonic() - started_at
        note(
            f"no {kind} worker: calls in flight refused at the deadline, after {waited:.1f} s; "
            f"new calls after {1000 * sorted(waits)[10]:.0f} ms, at most {1000 * max(waits):.0f} ms"
        )
        assert {type(outcome) for outcome in outcomes} <= {DeadlineExceeded, Unavailable}
        assert waited < REPLY_TIMEOUT_SECONDS + SLACK_SECONDS
        assert sorted(waits)[10] < AT_ONCE_SECONDS
        for name in names:
            await stack.start_again(name)
        await load.acknowledged(20, "http")
    await stack.audit(load, f"both {kind} workers killed")


async def _until_gone(stack: Stack, kind: str) -> None:
    """Wait until the broker has deleted the queue with its last consumer."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while f"rpc.{kind}" in (await stack.node.ctl("list_queues", "name")).split():  # noqa: ASYNC110 - the broker deletes it
            await asyncio.sleep(0.05)


async def _ask(stack: Stack, kind: str, login: str, token: str) -> None:
    await (stack.tenant.verify(token) if kind == "verify" else stack.tenant.login(login, PASSWORD))
