"""SweepLeases in MongoDB: which worker does a piece of background work that one worker suffices for."""

from collections.abc import Collection, Set as AbstractSet
from datetime import UTC, datetime

from pymongo import UpdateOne, WriteConcern
from pymongo.errors import BulkWriteError

from worker.adapters.mongo_database import MongoDatabase, refused_as_duplicates, unavailable_when_away

#: A lease that a failover loses costs double work only, so leases do not wait for a majority.
UNREPLICATED = WriteConcern(w=1, wtimeout=3_000)
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class MongoSweepLeases:
    """Implements the port `SweepLeases`."""

    def __init__(self, database: MongoDatabase, owner: str) -> None:
        """`owner` must differ between workers."""
        self._leases = database.collection("sweep_leases").with_options(write_concern=UNREPLICATED)
        self._owner = owner
        self._held: dict[str, datetime] = {}

    async def take(self, names: Collection[str], now: datetime, until: datetime) -> AbstractSet[str]:
        self._held = {name: end for name, end in self._held.items() if end > now}
        ordered = list(names)
        if not ordered:
            return set()
        # If another worker holds the lease, the filter does not match, and the insert is a duplicate.
        takes = [
            UpdateOne(
                {"_id": name, "owner": self._owner} if name in self._held else {"_id": name, "until": {"$lte": now}},
                {"$set": {"owner": self._owner, "until": until}},
                upsert=True,
            )
            for name in ordered
        ]
        refused: Collection[int] = ()
        with unavailable_when_away():
            try:
                await self._leases.bulk_write(takes, ordered=False)
            except BulkWriteError as error:
                refused = refused_as_duplicates(error)
        taken = set(ordered) - {ordered[position] for position in refused}
        self._held = {name: end for name, end in self._held.items() if name not in ordered}
        self._held |= dict.fromkeys(taken, until)
        return taken

    async def release(self) -> None:
        """End all leases of this worker, so that another worker continues at once."""
        held, self._held = list(self._held), {}
        if held:
            with unavailable_when_away():
                await self._leases.update_many({"_id": {"$in": held}, "owner": self._owner}, {"$set": {"until": NEVER}})
