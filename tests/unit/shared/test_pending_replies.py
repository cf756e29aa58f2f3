"""Pending calls: when they are abandoned and when they go on waiting."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from aiormq.abc import AbstractChannel, DeliveredMessage

from shared.amqp.pending_replies import ALARM_CHECK_SECONDS, PendingReplies

#: A blocked call is abandoned after fewer checks of the broker's alarm than this.
SOME_CHECKS = 5


class FakeChannel:
    """A channel and its connection to a broker that accepts messages or not."""

    def __init__(self) -> None:
        self.connection = self
        self.taking = asyncio.Event()
        self.taking.set()

    async def ready(self) -> None:
        await self.taking.wait()


class Waiter:
    """Makes calls and returns their outcome."""

    def __init__(self, channel: FakeChannel) -> None:
        self.calls = PendingReplies()
        self.calls.begin(cast(AbstractChannel, channel))

    async def call(self, call_id: str, before: Callable[[], Any] | None = None) -> object:
        """Return the reply or the reason for its absence; publishing waits for `before`."""
        try:
            async with asyncio.timeout(30) as deadline:
                answer = self.calls.add(call_id, deadline)
                if before is not None:
                    await before()
                return await answer or "given up"
        except TimeoutError:
            return "given up" if self.calls.is_abandoned(call_id) else "too late"
        finally:
            self.calls.remove(call_id)


@pytest.fixture
async def channel() -> FakeChannel:
    return FakeChannel()


@pytest.fixture
async def waiter(channel: FakeChannel) -> Waiter:
    return Waiter(channel)


async def test_call_keeps_waiting_while_the_broker_accepts_messages(waiter: Waiter) -> None:
    """A slow worker is no reason to abandon it."""
    call = asyncio.create_task(waiter.call("one"))
    await asyncio.wait([call], timeout=SOME_CHECKS * ALARM_CHECK_SECONDS)
    assert not call.done()
    reply = cast(DeliveredMessage, object())
    waiter.calls.answer("one", reply)
    assert await call is reply


async def test_blocked_broker_abandons_all_calls(channel: FakeChannel, waiter: Waiter) -> None:
    """This includes calls that could not publish their request."""
    channel.taking.clear()
    calls = [waiter.call("waits"), waiter.call("publishes", before=asyncio.Event().wait)]
    assert await asyncio.gather(*calls) == ["given up", "given up"]
    assert waiter.calls.blocked


async def test_unblocked_broker_is_noticed_without_a_call(channel: FakeChannel, waiter: Waiter) -> None:
    channel.taking.clear()
    assert await waiter.call("one") == "given up"
    channel.taking.set()
    async with asyncio.timeout(30):
        while waiter.calls.blocked:  # noqa: ASYNC110 - the check runs by the clock
            await asyncio.sleep(ALARM_CHECK_SECONDS)


async def test_lost_channel_abandons_all_calls_at_once(channel: FakeChannel, waiter: Waiter) -> None:
    """The next channel starts unblocked."""
    channel.taking.clear()
    assert await waiter.call("one") == "given up"
    call = asyncio.create_task(waiter.call("two"))
    await asyncio.sleep(0)
    waiter.calls.end()
    assert await call == "given up"
    assert not waiter.calls.blocked


async def test_reply_without_a_pending_call_is_dropped(waiter: Waiter) -> None:
    """The caller's deadline has passed."""
    waiter.calls.answer("nobody", cast(DeliveredMessage, "reply"))
