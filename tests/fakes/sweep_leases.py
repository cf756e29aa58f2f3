"""Fake of the `SweepLeases` port, kept in memory; it passes the contract suite of the real adapter."""

from collections.abc import Collection, Set as AbstractSet
from datetime import datetime


class FakeSweepLeases:
    """Implements the port `SweepLeases`. Fakes of other workers share `held`."""

    def __init__(self, owner: str = "a worker", held: dict[str, tuple[str, datetime]] | None = None) -> None:
        self._owner = owner
        self.held = {} if held is None else held

    async def take(self, names: Collection[str], now: datetime, until: datetime) -> AbstractSet[str]:
        free = (self._owner, now)
        taken = {
            name for name in names for owner, end in [self.held.get(name, free)] if owner == self._owner or end <= now
        }
        self.held |= dict.fromkeys(taken, (self._owner, until))
        return taken

    async def release(self) -> None:
        for name in [name for name, (owner, _) in self.held.items() if owner == self._owner]:
            del self.held[name]
