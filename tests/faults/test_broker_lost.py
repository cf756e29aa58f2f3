"""The broker is lost in every way there is: calls under way fail, nothing hangs, and all comes back by itself."""

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

#: What a call may take that was under way when its connection was lost, on a machine that does other things beside.
AT_ONCE_SECONDS = 2.0
#: The issue's figure, and as much again for a machine that does other things beside.
BACK_SECONDS = 3.0 + 3.0
CUTS = 20 if LONG else 5
KILLS = 20 if LONG else 1


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def link(crashable: Crashable) -> AsyncIterator[Proxy]:
    """Between the edge and the broker."""
    async with Proxy(crashable.node.amqp_url) as proxy:
        yield proxy


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(crashable: Crashable, link: Proxy, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(
        tmp_path_factory.mktemp("broker"), crashable, workers=1, env_of={"api-0": {"AMQP_URL": link.url}}
    ) as running:
        yield running


async def test_the_edge_is_cut_off_many_times_in_a_row(stack: Stack, link: Proxy) -> None:
    """Its connections end: calls under way hear 503 at once, and the next ones are served within moments."""
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
    _nobody_waited_for_a_deadline(load)
    await stack.audit(load, "edge cut off")


@pytest.mark.long
async def test_the_edges_link_is_half_open(stack: Stack, link: Proxy) -> None:
    """Nothing goes through, nothing is closed: calls fail by their deadlines, and at once when the link is given up."""
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


async def test_the_broker_is_killed_many_times_in_a_row(stack: Stack) -> None:
    """It comes back on the same data, and so does the service, by itself."""
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
    _nobody_waited_for_a_deadline(load)
    await stack.audit(load, "broker killed")


async def _until_refused(load: Load, since: float) -> None:
    """Returns when calls are refused as `unavailable`, and not by their deadline."""
    async with asyncio.timeout(60):
        while not load.records.codes(since=since)["unavailable"]:  # noqa: ASYNC110 (others bring it about)
            await asyncio.sleep(0.05)


def _nobody_waited_for_a_deadline(load: Load) -> None:
    assert load.records.slowest() < REPLY_TIMEOUT_SECONDS
    assert not load.records.codes()["deadline_exceeded"]


def _spread(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    return f"{ordered[len(ordered) // 2]:.2f} s in the middle, {ordered[-1]:.2f} s at most"
