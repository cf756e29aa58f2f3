"""Counts of login attempts, in MongoDB."""

from collections.abc import Sequence
from datetime import datetime

from pymongo import WriteConcern
from pymongo.errors import DuplicateKeyError

from worker.adapters.mongo_database import Document, MongoDatabase, unavailable_when_away
from worker.adapters.mongo_failures import repeated
from worker.adapters.mongo_queries import first_found, readable
from worker.domain.attempts import AttemptCount, Limit

#: Acknowledged by the primary's memory: waiting for disks and other nodes would cost each login
#: more than it gains. A crash loses the count of some attempts, and so some seconds of delay.
QUICK = WriteConcern(w=1)


class MongoAttempts:
    """Implements the port `Attempts`. Each step is one update of one document, with the condition in its filter."""

    def __init__(self, database: MongoDatabase) -> None:
        self._counts = database.collection("attempts").with_options(write_concern=QUICK)

    async def find(self, keys: Sequence[str]) -> dict[str, AttemptCount]:
        with unavailable_when_away():
            documents = await first_found(self._counts.find({"_id": {"$in": list(keys)}}), len(keys))
        found = readable(documents, lambda document: (document["_id"], _from_document(document)))
        return dict(found)

    async def count(self, key: str, seen: AttemptCount | None, limit: Limit, now: datetime) -> bool:
        is_kept = seen is not None and now < seen.kept_until
        row = seen.consecutive if seen is not None and is_kept else 0
        kept_until = limit.kept_until(row + 1, now)
        one_more: Document = {"$inc": {"tried": 1, "under_way": 1, "in_a_row": 1}, "$set": {"last_at": now}}
        begun: Document = {"since": now}
        if limit.max_consecutive is None:
            begun["kept_until"] = kept_until
        else:
            one_more["$max"] = {"kept_until": kept_until}
        if seen is None or (seen.tried < limit.undelayed and not limit.is_over(seen, now)):
            matching: Document = {"_id": key, "tried": {"$lt": limit.undelayed}, "since": {"$gt": now - limit.window}}
            if limit.max_consecutive is not None:  # `$not` also matches documents of older workers without this field
                matching["in_a_row"] = {"$not": {"$gte": limit.max_consecutive}}
            with unavailable_when_away():
                try:
                    await self._counts.update_one(matching, {**one_more, "$setOnInsert": begun}, upsert=True)
                except DuplicateKeyError:  # the document exists, and other attempts used up the undelayed ones
                    return False
            return True
        if limit.is_over(seen, now):
            one_more = {
                "$set": {"tried": 1, "under_way": 1, "last_at": now, "since": now},
                "$max": {"kept_until": kept_until},
            }
            if is_kept:
                one_more["$inc"] = {"in_a_row": 1}
            else:
                one_more["$set"]["in_a_row"] = 1
        unchanged = {"_id": key, "tried": seen.tried, "since": seen.since, "last_at": seen.last_at}
        with unavailable_when_away():
            result = await self._counts.update_one(unchanged, one_more)
        return bool(result.matched_count)

    async def failed(self, key: str) -> None:
        with unavailable_when_away():
            await self._counts.update_one({"_id": key, "under_way": {"$gt": 0}}, {"$inc": {"under_way": -1}})

    async def take_back(self, key: str) -> None:
        with unavailable_when_away():
            await self._counts.update_one(
                {"_id": key, "tried": {"$gt": 0}, "under_way": {"$gt": 0}},
                {"$inc": {"tried": -1, "under_way": -1, "in_a_row": -1}},
            )

    async def keep(self, key: str, now: datetime, until: datetime) -> None:
        nothing = {"tried": 0, "under_way": 0, "in_a_row": 0, "since": now, "last_at": now, "kept_until": until}
        with unavailable_when_away():
            try:
                await self._counts.update_one({"_id": key}, {"$set": nothing}, upsert=True)
            except DuplicateKeyError:  # another worker inserted it at the same time
                await self._counts.update_one({"_id": key}, {"$set": nothing})

    async def forget(self, *keys: str) -> None:
        with unavailable_when_away():
            await repeated(lambda: self._counts.delete_many({"_id": {"$in": keys}}))


def _from_document(document: Document) -> AttemptCount:
    # Absent in documents of older workers.
    consecutive: int = document["in_a_row"] if "in_a_row" in document else document["tried"]
    return AttemptCount(
        tried=document["tried"],
        in_flight=document["under_way"],
        since=document["since"],
        last_at=document["last_at"],
        kept_until=document["kept_until"],
        consecutive=max(consecutive, 0),
    )
