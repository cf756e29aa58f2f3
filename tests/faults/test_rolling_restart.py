"""Everything is told to stop and started again, one by one, under load: no request fails, and none is sent twice."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.stack import Crashable, Stack, running_stack

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

#: Several looks of the load balancer, on a machine that does other things beside.
DRAIN_SECONDS = 2.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(crashable: Crashable, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(
        tmp_path_factory.mktemp("rolling"),
        crashable,
        edges=2,
        env={"AUTH_DRAIN_SECONDS": str(DRAIN_SECONDS), "AUTH_REPLY_TIMEOUT_SECONDS": "20"},
    ) as running:
        running.edges.follow_readiness()
        yield running


async def test_a_rolling_restart_is_not_noticed(stack: Stack) -> None:
    """Behind a load balancer that looks at readiness, keeps its connections alive and never retries."""
    async with stack.load(callers=6) as load:
        for name, process in stack.service.processes.items():
            assert await process.terminate() == 0, name
            await stack.start_again(name)
            await load.acknowledged(10, "http")
    codes = load.records.codes()
    assert set(codes) == {"ok", "invalid_token"}, codes
    await stack.audit(load, "rolling restart")
