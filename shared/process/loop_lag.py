"""Measures the lag of the event loop, the minimum delay of everything that the process does."""

import asyncio
from collections.abc import Callable

#: Frequent enough to detect a stall of some tenths of a second, rare enough to cost nothing.
INTERVAL_SECONDS = 0.25


async def watch_loop(observe: Callable[[float], None], interval_seconds: float = INTERVAL_SECONDS) -> None:
    """Call `observe` with the lag in seconds after each interval, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + interval_seconds
        await asyncio.sleep(interval_seconds)
        observe(max(loop.time() - due, 0.0))
