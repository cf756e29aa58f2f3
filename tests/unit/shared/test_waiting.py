"""When a call that waits is given up, and when it is not."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import ChannelInvalidStateError, DeliveryError, PublishError
from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from shared.amqp.waiting import LOOK_SECONDS, WaitingCalls
from shared.contracts.operation import Lane

#: More looks than it takes to give a call up.
SOME_LOOKS = 10


class FakeChannel:
    """A channel, and its own connection, to a broker whose answer to questions a test sets."""

    def __init__(self) -> None:
        self.connection = self
        self.taking = asyncio.Event()
        self.taking.set()
        self.answer: Exception | None = None
        self.answered_lanes = set(Lane)
        self.asked: list[str] = []
        self.looked = asyncio.Condition()

    async def ready(self) -> None:
        await self.taking.wait()

    async def basic_publish(
        self, body: bytes, *, exchange: str, routing_key: str, properties: Basic.Properties, mandatory: bool
    ) -> None:
        assert (body, exchange, properties.message_type, mandatory) == (b"", "probes", "present", True)
        self.asked.append(routing_key)
        async with self.looked:
            self.looked.notify_all()
        if self.answer is not None and routing_key.removeprefix("present.") in self.answered_lanes:
            raise self.answer

    async def be_asked(self, times: int = SOME_LOOKS) -> None:
        until = len(self.asked) + times
        async with asyncio.timeout(30), self.looked:
            await self.looked.wait_for(lambda: len(self.asked) >= until)


class Waiter:
    """Calls of one lane or another, and what they come to."""

    def __init__(self, channel: FakeChannel) -> None:
        self.calls = WaitingCalls()
        self.calls.begin(cast(AbstractChannel, channel))

    async def call(self, call_id: str, lane: Lane = Lane.VERIFY, *, before: Callable[[], Any] | None = None) -> object:
        """The reply, or why there is none; `before` is what publishing it waits for."""
        try:
            async with asyncio.timeout(30) as deadline:
                answer = self.calls.add(call_id, lane, deadline)
                if before is not None:
                    await before()
                return await answer or "given up"
        except TimeoutError:
            return "given up" if self.calls.given_up(call_id) else "too late"
        finally:
            self.calls.remove(call_id)


@pytest.fixture
async def channel() -> FakeChannel:
    return FakeChannel()


@pytest.fixture
async def waiter(channel: FakeChannel) -> Waiter:
    return Waiter(channel)


def _returned() -> Exception:
    returned = Basic.Return(312, "NO_ROUTE", "probes", "present.verify")
    return PublishError(DeliveredMessage(returned, ContentHeader(), b"", None), returned)  # type: ignore[arg-type]


async def test_a_call_without_a_worker_is_given_up(channel: FakeChannel, waiter: Waiter) -> None:
    """When the question after a worker was returned twice."""
    channel.answer = _returned()
    assert await waiter.call("one") == "given up"
    assert channel.asked == ["present.verify", "present.verify"]


async def test_only_its_own_lane_is_given_up(channel: FakeChannel, waiter: Waiter) -> None:
    """Others go on waiting; and a reply reaches them."""
    other = asyncio.create_task(waiter.call("other", Lane.MANAGE))
    await channel.be_asked()
    channel.answer, channel.answered_lanes = _returned(), {Lane.VERIFY}
    assert await waiter.call("one", Lane.VERIFY) == "given up"
    assert not other.done()
    reply = cast(AbstractIncomingMessage, object())
    waiter.calls.answer("other", reply)
    assert await other is reply


async def test_one_question_returned_is_not_enough(channel: FakeChannel, waiter: Waiter) -> None:
    """A worker's last reply may be on its way, or it may be about to come back."""
    call = asyncio.create_task(waiter.call("one"))
    for _ in range(3):
        channel.answer = _returned()
        await channel.be_asked(1)
        channel.answer = None
        await channel.be_asked(1)
    assert not call.done()
    waiter.calls.end()
    assert await call == "given up"


@pytest.mark.parametrize("answer", [None, DeliveryError(None, Basic.Nack(1)), ChannelInvalidStateError()])
async def test_what_says_nothing_of_workers_gives_nobody_up(
    channel: FakeChannel, waiter: Waiter, answer: Exception | None
) -> None:
    """Such as that there is one, that the broker refuses, or that the connection is going."""
    channel.answer = answer
    call = asyncio.create_task(waiter.call("one"))
    await channel.be_asked()
    assert not call.done()
    waiter.calls.answer("one", cast(AbstractIncomingMessage, "reply"))
    assert await call == "reply"


async def test_a_call_that_is_answered_soon_asks_nothing(channel: FakeChannel, waiter: Waiter) -> None:
    """So the usual call costs the broker no more than itself."""
    call = asyncio.create_task(waiter.call("one"))
    await asyncio.sleep(0)
    waiter.calls.answer("one", cast(AbstractIncomingMessage, "reply"))
    assert await call == "reply"
    other = asyncio.create_task(waiter.call("other", Lane.MANAGE))
    await channel.be_asked()
    assert set(channel.asked) == {"present.manage"}
    waiter.calls.end()
    await other


async def test_a_broker_that_takes_nothing_gives_everybody_up(channel: FakeChannel, waiter: Waiter) -> None:
    """Who waits for a reply, and who could not even publish. No question is asked meanwhile: it is a message, too."""
    channel.taking.clear()
    calls = [
        waiter.call("waits", Lane.PASSWORD),
        waiter.call("publishes", Lane.VERIFY, before=asyncio.Event().wait),
    ]
    assert await asyncio.gather(*calls) == ["given up", "given up"]
    assert waiter.calls.blocked
    assert channel.asked == []


async def test_a_broker_that_takes_requests_again_is_noticed(channel: FakeChannel, waiter: Waiter) -> None:
    """Though nobody calls meanwhile."""
    channel.taking.clear()
    assert await waiter.call("one") == "given up"
    channel.taking.set()
    async with asyncio.timeout(30):
        while waiter.calls.blocked:  # noqa: ASYNC110 - it looks by the clock
            await asyncio.sleep(LOOK_SECONDS)


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
