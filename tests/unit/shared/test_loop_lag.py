"""How late an event loop is."""

import asyncio
import time

from shared.process.loop_lag import watch_loop


async def test_a_loop_that_is_held_up_is_late() -> None:
    """Whoever works on the loop for so long makes all else wait as long, and that is what is told."""
    told: list[float] = []
    watching = asyncio.create_task(watch_loop(told.append, interval_seconds=0.01))
    await asyncio.sleep(0)
    time.sleep(0.1)  # noqa: ASYNC251 - a stall is what this is about
    while not told:  # noqa: ASYNC110 - a turn or two
        await asyncio.sleep(0)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert told[0] > 0.08
