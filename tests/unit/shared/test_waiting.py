"""When a call that waits is given up, and when it is not."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from aio_pika.abc import AbstractIncomingMessage
from aiormq.abc import AbstractChannel

from shared.amqp.pending_replies import ALARM_CHECK_SECONDS, PendingReplies

#: More looks than it takes to give a call up.
SOME_LOOKS = 5


class FakeChannel:
    """A channel, and its own connection, to a broker that takes messages or does not."""

    def __init__(self) -> None:
        self.connection = self
        self.taking = asyncio.Event()
        self.taking.set()

    async def ready(self) -> None:
        await self.taking.wait()


class Waiter:
    """Calls, and what they come to."""

    def __init__(self, channel: FakeChannel) -> None:
        self.calls = PendingReplies()
        self.calls.begin(cast(AbstractChannel, channel))

    async def call(self, call_id: str, before: Callable[[], Any] | None = None) -> object:
        """The reply, or why there is none; `before` is what publishing it waits for."""
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


async def test_a_call_goes_on_waiting_while_the_broker_takes_messages(waiter: Waiter) -> None:
    """However slow its worker is."""
    call = asyncio.create_task(waiter.call("one"))
    await asyncio.wait([call], timeout=SOME_LOOKS * ALARM_CHECK_SECONDS)
    assert not call.done()
    reply = cast(AbstractIncomingMessage, object())
    waiter.calls.answer("one", reply)
    assert await call is reply


async def test_a_broker_that_takes_nothing_gives_everybody_up(channel: FakeChannel, waiter: Waiter) -> None:
    """Calls that wait for a reply, and calls that could not even publish."""
    channel.taking.clear()
    calls = [waiter.call("waits"), waiter.call("publishes", before=asyncio.Event().wait)]
    assert await asyncio.gather(*calls) == ["given up", "given up"]
    assert waiter.calls.blocked


async def test_a_broker_that_takes_requests_again_is_noticed(channel: FakeChannel, waiter: Waiter) -> None:
    """Though nobody calls meanwhile."""
    channel.taking.clear()
    assert await waiter.call("one") == "given up"
    channel.taking.set()
    async with asyncio.timeout(30):
        while waiter.calls.blocked:  # noqa: ASYNC110 - it looks by the clock
            await asyncio.sleep(ALARM_CHECK_SECONDS)


async def test_a_lost_channel_gives_everybody_up_at_once(channel: FakeChannel, waiter: Waiter) -> None:
    """And the next channel begins with a clean slate."""
    channel.taking.clear()
    assert await waiter.call("one") == "given up"
    call = asyncio.create_task(waiter.call("two"))
    await asyncio.sleep(0)
    waiter.calls.end()
    assert await call == "given up"
    assert not waiter.calls.blocked


async def test_an_answer_to_nobody_is_dropped(waiter: Waiter) -> None:
    """Its caller's time was up."""
    waiter.calls.answer("nobody", cast(AbstractIncomingMessage, "reply"))
