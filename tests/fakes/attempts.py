"""Fake of the `Attempts` port, kept in memory; it passes the contract suite of the real adapter."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from worker.domain.attempts import AttemptCount, Limit


class FakeAttempts:
    """Implements the port `Attempts`. Each step yields to the event loop, as the real adapter does."""

    def __init__(self) -> None:
        self._counts: dict[str, AttemptCount] = {}

    @property
    def keys(self) -> set[str]:
        """Return the keys under which attempts are counted."""
        return set(self._counts)

    @property
    def tried(self) -> int:
        """Return the number of attempts counted under all keys."""
        return sum(count.tried for count in self._counts.values())

    async def find(self, keys: Sequence[str]) -> dict[str, AttemptCount]:
        await asyncio.sleep(0)
        return {key: self._counts[key] for key in keys if key in self._counts}

    async def count(self, key: str, seen: AttemptCount | None, limit: Limit, now: datetime) -> bool:
        await asyncio.sleep(0)
        stored = self._counts.get(key)
        over = stored is not None and limit.is_over(stored, now)
        if seen is None or (seen.tried < limit.undelayed and not limit.is_over(seen, now)):
            stored = stored or AttemptCount(0, 0, now, now, limit.kept_until(1, now))
            if over or stored.tried >= limit.undelayed or limit.is_locked(stored, now):
                return False
        elif stored is None or (stored.tried, stored.since, stored.last_at) != (seen.tried, seen.since, seen.last_at):
            return False
        row = stored.consecutive + 1 if now < stored.kept_until else 1
        kept_until = max(stored.kept_until, limit.kept_until(row, now))
        if over:
            stored = AttemptCount(0, 0, now, now, kept_until)
        elif limit.max_consecutive is not None:
            stored = replace(stored, kept_until=kept_until)
        counted = replace(stored, tried=stored.tried + 1, in_flight=stored.in_flight + 1, last_at=now, consecutive=row)
        self._counts[key] = counted
        return True

    async def failed(self, key: str) -> None:
        self._change(key, tried=0)

    async def take_back(self, key: str) -> None:
        self._change(key, tried=-1)

    async def keep(self, key: str, now: datetime, until: datetime) -> None:
        self._counts[key] = AttemptCount(0, 0, now, now, until)

    async def forget(self, *keys: str) -> None:
        for key in keys:
            self._counts.pop(key, None)

    def _change(self, key: str, *, tried: int) -> None:
        stored = self._counts.get(key)
        if stored and stored.in_flight and stored.tried + tried >= 0:
            self._counts[key] = replace(
                stored,
                in_flight=stored.in_flight - 1,
                tried=stored.tried + tried,
                consecutive=max(stored.consecutive + tried, 0),
            )
