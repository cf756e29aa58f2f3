"""A worker with a wrong clock."""

import asyncio
import dataclasses
import functools
import sys
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dev.processes import ChildProcess
from shared.contracts.errors import DeadlineExceeded, InvalidToken
from tests.faults.load import PASSWORD
from tests.faults.stack import Crashable, Stack, running_stack
from tests.faults.transports import PATIENCE_SECONDS, OverAmqp
from tests.service import takes_requests

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

SKEW_SECONDS = 90
TOKEN_SECONDS = 96


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(crashable: Crashable, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack whose callers wait longer than the clocks differ; otherwise every request is late (see the last test)."""
    async with running_stack(
        tmp_path_factory.mktemp("clocks"),
        crashable,
        workers=1,
        env={"AUTH_USER_TOKEN_SECONDS": str(TOKEN_SECONDS), "AUTH_REPLY_TIMEOUT_SECONDS": str(SKEW_SECONDS + 10)},
    ) as running:
        yield running


async def test_worker_whose_clock_is_ahead_refuses_tokens_early_by_at_most_its_skew(stack: Stack) -> None:
    await stack.tenant.create("ann", PASSWORD)
    token = await stack.tenant.login("ann", PASSWORD)
    opened = time.monotonic()
    async with _Skewed(stack, SKEW_SECONDS):
        await stack.tenant.verify(token)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await _accepts(stack, token):  # noqa: ASYNC110 (the token expires)
                await asyncio.sleep(0.2)
        # By the true time the token is still valid. Token times are whole seconds.
        assert time.monotonic() - opened >= TOKEN_SECONDS - SKEW_SECONDS - 1
    await stack.tenant.verify(token)


async def test_token_of_a_worker_whose_clock_is_behind_expires_early_elsewhere(stack: Stack) -> None:
    await stack.tenant.create("bob", PASSWORD)
    async with _Skewed(stack, -SKEW_SECONDS, "password"):
        # For all other workers the token expires earlier by the skew.
        token = await stack.tenant.login("bob", PASSWORD)
    async with _Skewed(stack, SKEW_SECONDS), asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(InvalidToken):
            await stack.tenant.verify(token)


async def test_worker_whose_clock_is_too_far_ahead_starts_no_request(stack: Stack) -> None:
    """Callers that wait shorter than the skew get an error that says by how much the request is late."""
    async with (
        _Skewed(stack, SKEW_SECONDS),
        OverAmqp.connect(stack.node.amqp_url, stack.tenant.token, timeout_seconds=1) as impatient,
    ):
        with pytest.raises(DeadlineExceeded, match="so the clocks of the caller and of the worker differ") as late:
            await impatient.revoke_all("nobody")
        assert SKEW_SECONDS - 2 <= int(late.value.details["lateSeconds"]) <= SKEW_SECONDS


async def _accepts(stack: Stack, token: str) -> bool:
    try:
        await stack.tenant.verify(token)
    except InvalidToken:
        return False
    return True


class _Skewed:
    """Replaces a worker of the stack by one with a skewed clock until the block ends."""

    def __init__(self, stack: Stack, ahead_seconds: int, kind: str = "verify") -> None:
        self._stack = stack
        self._name = f"worker-{kind}-0"
        service = stack.process(self._name).service
        lanes = service.argv[-1]
        argv = [sys.executable, "-m", "tests.faults.skewed_worker", str(ahead_seconds), "--lanes", lanes]
        log_directory = stack.process(self._name).log_path.parent
        skewed = dataclasses.replace(service, name=f"{self._name}-skewed-by-{ahead_seconds}", argv=argv)
        self._process = ChildProcess(skewed, log_directory)

    async def __aenter__(self) -> None:
        self._process.start()
        await self._process.wait_until(functools.partial(takes_requests, self._process), PATIENCE_SECONDS)
        await self._stack.process(self._name).terminate()

    async def __aexit__(self, *_: object) -> None:
        await self._stack.start_again(self._name)
        await self._process.terminate()
