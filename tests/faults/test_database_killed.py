"""A database that is killed under load."""

import time
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from tests.faults.profile import LONG, note
from tests.faults.stack import REPLY_TIMEOUT_SECONDS, Crashable, Stack, running_stack
from tests.faults.transports import until_ready
from tests.service import refused_readiness

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

#: A worker waits two seconds for a database; the rest is slack.
BACK_SECONDS = 2.0 + 4.0
KILLS = 20 if LONG else 2


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(crashable: Crashable, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("database"), crashable, workers=1) as running:
        yield running


async def test_repeatedly_killed_database_loses_nothing_acknowledged(stack: Stack) -> None:
    """Readiness names the database, calls wait or are refused, and no user is created in part."""
    back = []
    async with stack.load(callers=6) as load, httpx.AsyncClient(base_url=stack.service.urls[0], timeout=30) as http:
        for _ in range(KILLS):
            await stack.server.kill()
            ready = await refused_readiness(http)
            assert (ready.status_code, ready.json()["missing"]) == (503, ["database"])
            await stack.server.start()
            started = time.monotonic()
            await until_ready(stack.service.urls)
            back.append(time.monotonic() - started)
            await load.acknowledged(30, "http")
    note(f"database killed {KILLS} times: ready again after {max(back):.2f} s at most")
    assert max(back) < BACK_SECONDS
    assert load.records.slowest() < REPLY_TIMEOUT_SECONDS
    await stack.audit(load, "database killed")
