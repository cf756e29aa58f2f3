"""Deadlines that are all equally far away, so that one timer serves them all: they fall due in order of arrival.

`asyncio.timeout` arms and cancels a timer for each call: four microseconds of the hundred that a verification takes.
"""

import asyncio
from typing import Any


class EqualDeadlines:
    """Futures that raise `TimeoutError` unless they are done, or removed, within the same time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due: dict[asyncio.Future[Any], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, future: asyncio.Future[Any]) -> None:
        """Start the time of this future."""
        due = self._due[future] = asyncio.get_running_loop().time() + self._seconds
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(due, self._expire)

    def remove(self, future: asyncio.Future[Any]) -> None:
        """Forget this future. The timer keeps running: a later future nearly always needs it."""
        del self._due[future]

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        for future, due in self._due.items():
            if due > loop.time():
                self._timer = loop.call_at(due, self._expire)
                break
            if not future.done():
                future.set_exception(TimeoutError())
