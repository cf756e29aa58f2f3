"""A rolling restart of every process under load."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.stack import Crashable, Stack, running_stack

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

#: Several readiness probes of the load balancer, on a machine with other load.
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


async def test_rolling_restart_behind_a_load_balancer_fails_no_request(stack: Stack) -> None:
    """The load balancer probes readiness, keeps connections alive and never retries."""
    async with stack.load(callers=6) as load:
        for name, process in stack.service.processes.items():
            assert await process.terminate() == 0, name
            await stack.start_again(name)
            await load.acknowledged(10, "http")
    codes = load.records.codes()
    assert set(codes) == {"ok", "invalid_token"}, codes
    await stack.audit(load, "rolling restart")
