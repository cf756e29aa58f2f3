"""Timing of repeated actions: throughput and durations."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timed:
    """Durations in seconds of the actions done within `elapsed` seconds."""

    durations: Sequence[float]
    elapsed: float

    @property
    def per_second(self) -> float:
        return len(self.durations) / self.elapsed

    def percentile_ms(self, percent: float) -> float:
        """Return this percentile of the durations in milliseconds."""
        ordered = sorted(self.durations)
        return 1000 * ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]

    @property
    def p50_ms(self) -> float:
        return self.percentile_ms(50)

    @property
    def p99_ms(self) -> float:
        return self.percentile_ms(99)


async def timed(action: Callable[[], Awaitable[object]], seconds: float, callers: int = 1) -> Timed:
    """Repeat the action for this long; each caller has one in flight at a time."""
    durations: list[float] = []
    began = time.perf_counter()

    async def work() -> None:
        while (started := time.perf_counter()) < began + seconds:
            await action()
            durations.append(time.perf_counter() - started)

    await asyncio.gather(*(work() for _ in range(callers)))
    return Timed(durations, time.perf_counter() - began)


async def timed_at_rate(action: Callable[[], Awaitable[object]], seconds: float, per_second: float) -> Timed:
    """Start the action at this rate, whether or not earlier ones are done.

    Each is timed from when it was due. A stall then counts for every action due during it, as for real callers,
    which do not wait for each other.
    """
    durations: list[float] = []
    began = time.perf_counter()

    async def one(due: float) -> None:
        await action()
        durations.append(time.perf_counter() - due)

    async with asyncio.TaskGroup() as tasks:
        for number in range(int(seconds * per_second)):
            due = began + number / per_second
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            tasks.create_task(one(due))
    return Timed(durations, time.perf_counter() - began)
