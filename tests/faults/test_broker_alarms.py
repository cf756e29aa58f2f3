"""The broker is short of memory or of disk: it takes no more requests, and everybody learns that by their deadline."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from shared.contracts.errors import AuthError
from tests.faults.load import PASSWORD, REFUSALS
from tests.faults.profile import note
from tests.faults.stack import Crashable, Stack, running_stack
from tests.faults.transports import until_ready

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

REPLY_TIMEOUT_SECONDS = 2
SLACK_SECONDS = 3.0
#: What sets off an alarm, and what ends it again.
ALARMS = {
    "memory": (("set_vm_memory_high_watermark", "0.0001"), ("set_vm_memory_high_watermark", "0.4")),
    "disk": (("set_disk_free_limit", "100000GB"), ("set_disk_free_limit", "50MB")),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(crashable: Crashable, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(
        tmp_path_factory.mktemp("alarms"),
        crashable,
        workers=1,
        env={"AUTH_REPLY_TIMEOUT_SECONDS": str(REPLY_TIMEOUT_SECONDS)},
    ) as running:
        yield running


@pytest.mark.parametrize("alarm", ["memory", pytest.param("disk", marks=pytest.mark.long)])
async def test_requests_during_an_alarm_fail_by_their_deadline(stack: Stack, alarm: str) -> None:
    """None of them is executed afterwards, and the service is back by itself once the alarm is over."""
    sound, clear = ALARMS[alarm]
    logins = [f"{alarm}-{number}" for number in range(4)]
    async with stack.load() as load:
        try:
            await stack.node.ctl(*sound)
            await _until_refused(stack)
            asked = time.monotonic()
            answers = await asyncio.gather(*(_refusal(stack, login) for login in logins))
            assert time.monotonic() - asked < REPLY_TIMEOUT_SECONDS + SLACK_SECONDS
        finally:
            await stack.node.ctl(*clear)
        cleared = time.monotonic()
        await until_ready(stack.service.urls)
        back = time.monotonic() - cleared
        await load.acknowledged(20, "http")
    note(f"{alarm} alarm: refused as {sorted(set(answers))}, ready {back:.1f} s after it")
    for login in logins:  # none of those creations was done: their logins are free
        await stack.tenant.create(login, PASSWORD)
    await stack.audit(load, f"{alarm} alarm")


async def _refusal(stack: Stack, login: str) -> str:
    """What a creation is answered."""
    try:
        await stack.tenant.create(login, PASSWORD)
    except REFUSALS as error:
        return error.code
    raise AssertionError("it was done")


async def _until_refused(stack: Stack) -> None:
    """Returns when the alarm is in force: connections publish once more before they are blocked."""
    async with asyncio.timeout(60):
        while True:
            try:
                await stack.tenant.login("nobody", PASSWORD)
            except REFUSALS:
                return
            except AuthError:
                continue
