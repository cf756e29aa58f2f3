"""A full queue that takes seconds."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.retries import retried_as_told
from tests.faults.stack import Crashable, Stack, running_stack

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

QUEUE_LENGTH = 16


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(crashable: Crashable, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack in which a password takes long on any machine: many hash passes, one hash at a time."""
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


async def test_overloaded_callers_that_retry_as_told_are_served(stack: Stack) -> None:
    """Twice as many callers as the lane holds are served within a few retries."""
    retry_after, retries = await retried_as_told(stack, 2 * QUEUE_LENGTH)
    assert max(retry_after) > 1
    assert max(retries) <= 4
