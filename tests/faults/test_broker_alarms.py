"""Alarms of the broker about memory and disk, during which it accepts no requests."""

import asyncio
import base64
import time
import uuid
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from dev.rabbitmq import RabbitNode
from shared.client.auth_client import AuthClient
from shared.contracts.errors import AuthError, ErrorCode, Unavailable
from shared.contracts.events import RevocationReason, SessionRevoked, SessionRevokedEvent
from tests.faults.accounts import claims, session_id
from tests.faults.load import PASSWORD, REFUSALS
from tests.faults.profile import note
from tests.faults.stack import Crashable, Stack, running_stack
from tests.faults.subscribers import Subscribers
from tests.faults.transports import PATIENCE_SECONDS, until_ready

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

#: Far longer than a refusal may take.
REPLY_TIMEOUT_SECONDS = 10
#: Longest immediate refusal, on a machine with other load.
AT_ONCE_SECONDS = 1.0
#: Longest time from the end of an alarm until requests are served.
BACK_SECONDS = 10.0
#: The commands that start and end each alarm.
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


@pytest.mark.parametrize("alarm", ALARMS)
async def test_requests_during_an_alarm_are_refused_at_once(stack: Stack, alarm: str) -> None:
    """None of them is executed later, and the service recovers by itself."""
    raise_alarm, clear = ALARMS[alarm]
    logins = [f"{alarm}-{number}" for number in range(4)]
    async with stack.load() as load:
        try:
            await stack.node.ctl(*raise_alarm)
            await _until_refused(stack)
            started = time.monotonic()
            answers = await asyncio.gather(*(_refusal(stack, login) for login in logins))
            refused = time.monotonic() - started
            missing = await _missing(stack)
        finally:
            await stack.node.ctl(*clear)
        cleared = time.monotonic()
        await until_ready(stack.service.urls)
        back = time.monotonic() - cleared
        await load.acknowledged(20, "http")
    note(
        f"{alarm} alarm: refused as {sorted(set(answers))} after {1000 * refused:.0f} ms, ready {back:.1f} s after it;"
        f" slowest call {load.records.slowest():.1f} s"
    )
    assert set(answers) == {ErrorCode.UNAVAILABLE}
    assert refused < AT_ONCE_SECONDS
    assert missing == ["broker"]
    assert back < BACK_SECONDS
    assert load.records.slowest() < REPLY_TIMEOUT_SECONDS
    for login in logins:  # no user was created: the logins are free
        await stack.tenant.create(login, PASSWORD)
    await stack.audit(load, f"{alarm} alarm")


@pytest.mark.parametrize("alarm", ALARMS)
async def test_subscribers_receive_events_during_an_alarm(stack: Stack, alarm: str) -> None:
    """The test reads a live and a durable subscription."""
    raise_alarm, clear = ALARMS[alarm]
    tenant = claims(stack.tenant.token)["sub"]
    async with (
        AuthClient.connect(stack.node.amqp_url, tenant_token=stack.tenant.token) as auth,
        Subscribers.reading(auth) as subscribers,
    ):
        await stack.tenant.create(f"eve-{alarm}", PASSWORD)
        token = await stack.tenant.login(f"eve-{alarm}", PASSWORD)
        await stack.tenant.logout(token)
        await subscribers.receive({session_id(token)})
        event = _revocation(tenant)
        try:
            await stack.node.ctl(*raise_alarm)
            await _until_refused(stack)
            await _publish(stack.node, event)
            await subscribers.receive({event.data.session_id})
            await _until_refused(stack)  # the alarm is still active
        finally:
            await stack.node.ctl(*clear)
    await until_ready(stack.service.urls)


def _revocation(tenant: str) -> SessionRevokedEvent:
    now = int(time.time())
    data = SessionRevoked(
        session_id=uuid.uuid4().hex,
        tenant=tenant,
        user="u",
        login="u",
        device_id=None,
        reason=RevocationReason.LOGOUT,
        event_timestamp=now,
        exp=now + 60,
    )
    return SessionRevokedEvent.of(data, "test")


async def _publish(node: RabbitNode, event: SessionRevokedEvent) -> None:
    """Publish inside the broker, which reads nothing from connections during an alarm."""
    body = base64.b64encode(event.to_json()).decode()
    await node.ctl(
        "eval",
        'rabbit_basic:publish(rabbit_misc:r(<<"/">>, exchange, <<"events">>), '
        f'<<"{event.data.routing_key}">>, [], base64:decode(<<"{body}">>)).',
    )


async def _missing(stack: Stack) -> list[str]:
    """Return what readiness reports as missing."""
    async with httpx.AsyncClient(base_url=stack.service.urls[0], timeout=PATIENCE_SECONDS, trust_env=False) as http:
        missing: list[str] = (await http.get("/health/ready")).json()["missing"]
        return missing


async def _refusal(stack: Stack, login: str) -> str:
    """Return the code of a refused creation."""
    try:
        await stack.tenant.create(login, PASSWORD)
    except REFUSALS as error:
        return error.code
    raise AssertionError("the creation was not refused")


async def _until_refused(stack: Stack) -> None:
    """Wait until the alarm blocks connections. Each connection publishes once more before that."""
    async with asyncio.timeout(60):
        while True:
            try:
                await stack.tenant.login("nobody", PASSWORD)
            except Unavailable:
                return
            except AuthError:
                continue
