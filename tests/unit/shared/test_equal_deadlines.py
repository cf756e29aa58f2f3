"""Deadlines that are equally far away: each future has its own time, and one timer serves all."""

import asyncio
from typing import Any

import pytest

from shared.amqp.equal_deadlines import EqualDeadlines

#: Bounds how long a broken test waits.
TIMEOUT_SECONDS = 30
SECONDS = 0.1


def pending() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


async def test_each_future_times_out_after_its_own_time() -> None:
    loop, deadlines = asyncio.get_running_loop(), EqualDeadlines(SECONDS)
    waiting, taken = [], list[float]()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        for _ in range(3):
            future, began = pending(), loop.time()

            def timed(_: object, began: float = began) -> None:
                taken.append(loop.time() - began)

            deadlines.add(future)
            future.add_done_callback(timed)
            waiting.append(future)
            await asyncio.sleep(SECONDS / 4)
        for future in waiting:
            with pytest.raises(TimeoutError):
                await future
            deadlines.remove(future)
    assert len(taken) == 3
    assert min(taken) >= SECONDS * 0.9  # the clock of the loop ticks in milliseconds


async def test_done_and_removed_futures_are_left_alone_and_later_ones_still_time_out() -> None:
    deadlines = EqualDeadlines(SECONDS)
    answered, cancelled, removed = pending(), pending(), pending()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        for future in (answered, cancelled, removed):
            deadlines.add(future)
        answered.set_result("reply")
        cancelled.cancel()
        deadlines.remove(removed)
        for _ in range(2):  # the second after the timer has ended
            late = pending()
            deadlines.add(late)
            with pytest.raises(TimeoutError):
                await late
            deadlines.remove(late)
    assert (answered.result(), cancelled.cancelled(), removed.done()) == ("reply", True, False)
