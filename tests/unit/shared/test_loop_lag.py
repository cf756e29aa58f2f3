"""The lag of an event loop."""

import asyncio
import time

from shared.process.loop_lag import watch_loop


async def test_blocked_event_loop_is_reported_with_its_lag() -> None:
    lags: list[float] = []
    watching = asyncio.create_task(watch_loop(lags.append, interval_seconds=0.01))
    await asyncio.sleep(0)
    time.sleep(0.1)  # noqa: ASYNC251 - the test needs a blocked loop
    while not lags:  # noqa: ASYNC110 - one or two iterations
        await asyncio.sleep(0)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert lags[0] > 0.08
