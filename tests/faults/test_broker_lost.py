"""Lost connections to the broker: cut, half open, or closed by a killed broker."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.load import Load
from tests.faults.profile import LONG, note
from tests.faults.stack import REPLY_TIMEOUT_SECONDS, Crashable, Stack, running_stack
from tests.faults.transports import until_ready
from tests.integration.proxy import Proxy

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

#: Longest call in flight when its connection is lost, on a machine with other load.
AT_ONCE_SECONDS = 2.0
#: Three seconds are required; the rest is slack for a machine with other load.
BACK_SECONDS = 3.0 + 3.0
CUTS = 20 if LONG else 5
KILLS = 20 if LONG else 1


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def link(crashable: Crashable) -> AsyncIterator[Proxy]:
    """The proxy between the edge and the broker."""
    async with Proxy(crashable.node.amqp_url) as proxy:
        yield proxy


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(crashable: Crashable, link: Proxy, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(
        tmp_path_factory.mktemp("broker"), crashable, workers=1, env_of={"api-0": {"AMQP_URL": link.url}}
    ) as running:
        yield running


async def test_edge_that_is_cut_off_repeatedly_recovers_each_time(stack: Stack, link: Proxy) -> None:
    """Calls in flight get 503 at once."""
    back = []
    async with stack.load() as load:
        for _ in range(CUTS):
            cut = time.monotonic()
            await link.cut()
            await until_ready(stack.service.urls)
            back.append(time.monotonic() - cut)
            assert load.records.slowest(since=cut) < AT_ONCE_SECONDS
            await load.acknowledged(10, "http")
    note(f"edge cut off {CUTS} times: ready again after {_spread(back)}")
    assert sorted(back)[CUTS // 2] < BACK_SECONDS
    _assert_no_deadline_reached(load)
    await stack.audit(load, "edge cut off")


@pytest.mark.long
async def test_edge_with_a_half_open_link_recovers_after_its_heartbeat(stack: Stack, link: Proxy) -> None:
    """Calls fail at their deadlines until the link is abandoned."""
    async with stack.load() as load:
        held = time.monotonic()
        link.hold()
        await _until_refused(load, held)
        noticed = time.monotonic() - held
        link.let_through()
        await until_ready(stack.service.urls)
        await load.progress()
    note(f"half-open link given up after {noticed:.1f} s, calls took {load.records.slowest(since=held):.1f} s at most")
    assert load.records.slowest(since=held) < REPLY_TIMEOUT_SECONDS + AT_ONCE_SECONDS
    await stack.audit(load, "half-open link")


async def test_service_recovers_from_a_repeatedly_killed_broker(stack: Stack) -> None:
    pids = {name: process.pid for name, process in stack.service.processes.items()}
    back = []
    async with stack.load() as load:
        for _ in range(KILLS):
            killed = time.monotonic()
            await stack.node.kill()
            await asyncio.sleep(AT_ONCE_SECONDS)
            assert load.records.slowest(since=killed) < AT_ONCE_SECONDS
            await stack.node.start()
            started = time.monotonic()
            await until_ready(stack.service.urls)
            back.append(time.monotonic() - started)
            await load.progress()
    note(f"broker killed {KILLS} times: ready again after {_spread(back)}")
    assert sorted(back)[KILLS // 2] < BACK_SECONDS
    assert {name: process.pid for name, process in stack.service.processes.items()} == pids
    _assert_no_deadline_reached(load)
    await stack.audit(load, "broker killed")


async def _until_refused(load: Load, since: float) -> None:
    """Wait until calls are refused as `unavailable`, not by their deadline."""
    async with asyncio.timeout(60):
        while not load.records.codes(since=since)["unavailable"]:  # noqa: ASYNC110 (other processes change the condition)
            await asyncio.sleep(0.05)


def _assert_no_deadline_reached(load: Load) -> None:
    assert load.records.slowest() < REPLY_TIMEOUT_SECONDS
    assert not load.records.codes()["deadline_exceeded"]


def _spread(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    return f"{ordered[len(ordered) // 2]:.2f} s median, {ordered[-1]:.2f} s at most"
