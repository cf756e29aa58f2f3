"""Many things of one kind that were timed: how many in a second, and how long they took."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timed:
    """Durations in seconds, of what was done within `elapsed` seconds."""

    durations: Sequence[float]
    elapsed: float

    @property
    def per_second(self) -> float:
        return len(self.durations) / self.elapsed

    def percentile_ms(self, percent: float) -> float:
        """The duration that so many per cent were not longer than."""
        ordered = sorted(self.durations)
        return 1000 * ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]

    @property
    def p50_ms(self) -> float:
        return self.percentile_ms(50)

    @property
    def p99_ms(self) -> float:
        return self.percentile_ms(99)


async def timed(action: Callable[[], Awaitable[object]], seconds: float, callers: int = 1) -> Timed:
    """Does it again and again for so long; each of the callers has one under way at a time."""
    durations: list[float] = []
    began = time.perf_counter()

    async def work() -> None:
        while (started := time.perf_counter()) < began + seconds:
            await action()
            durations.append(time.perf_counter() - started)

    await asyncio.gather(*(work() for _ in range(callers)))
    return Timed(durations, time.perf_counter() - began)


async def timed_at_rate(action: Callable[[], Awaitable[object]], seconds: float, per_second: float) -> Timed:
    """Begins it so many times a second, whether or not the ones before are done.

    Each is timed from when it was due: a stall is felt by all that came due in it, as it is by real callers, who do not
    wait for each other.
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
