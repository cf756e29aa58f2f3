"""A full queue that takes seconds: who finds no room in it is told so, and is served after that."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.returns import returned_as_told
from tests.faults.stack import Crashable, Stack, running_stack

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

QUEUE_LENGTH = 16


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(crashable: Crashable, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """One in which a password takes long, on any machine: it is hashed with many passes, one at a time."""
    async with running_stack(
        tmp_path_factory.mktemp("long_queue"),
        crashable,
        workers=1,
        env={
            "AUTH_PASSWORD_QUEUE_LENGTH": str(QUEUE_LENGTH),
            "AUTH_REPLY_TIMEOUT_SECONDS": "30",
            "AUTH_HASH_THREADS": "1",
            "AUTH_HASH_PASSES": "16",
        },
    ) as running:
        yield running


async def test_who_comes_back_as_told_is_served(stack: Stack) -> None:
    """Of twice as many as the lane holds, after one return each, or a few where the machine got slower meanwhile."""
    told, returns = await returned_as_told(stack, 2 * QUEUE_LENGTH)
    assert max(told) > 1
    assert max(returns) <= 4
