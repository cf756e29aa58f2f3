"""How late the event loop is: whatever a process has to do waits at least that long for its turn."""

import asyncio
from collections.abc import Callable

#: Often enough to meet a stall of some tenths of a second, seldom enough to cost nothing.
INTERVAL_SECONDS = 0.25


async def watch_loop(observe: Callable[[float], None], interval_seconds: float = INTERVAL_SECONDS) -> None:
    """Tells, until cancelled, by how many seconds the loop was late at each of its turns that was due."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + interval_seconds
        await asyncio.sleep(interval_seconds)
        observe(max(loop.time() - due, 0.0))
