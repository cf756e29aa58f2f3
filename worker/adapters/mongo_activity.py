"""Last activity of users, written to MongoDB in batches: it is asked for rarely and changes with each request."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime

from pymongo import UpdateOne
from pymongo.errors import PyMongoError

from worker.adapters.mongo_database import MongoDatabase

log = logging.getLogger(__name__)


class MongoActivity:
    """Implements the port `Activity`. What a crash takes along is some seconds of it."""

    def __init__(self, database: MongoDatabase) -> None:
        self._users = database.collection("users")
        self._seen: dict[str, datetime] = {}

    def seen(self, user: str, at: datetime) -> None:
        self._seen[user] = at

    async def write_forever(self, interval_seconds: float) -> None:
        """Writes at this interval until cancelled."""
        while True:
            await asyncio.sleep(interval_seconds)
            try:
                await self.write()
            except Exception:  # a fault met once must not be the end of it, or what is seen would pile up
                log.exception("activity is not written")

    async def write(self) -> None:
        """Writes what was seen since the last time. Not worth a retry: the users will be seen again."""
        seen: Mapping[str, datetime] = self._seen
        self._seen = {}
        if not seen:
            return
        updates = [UpdateOne({"_id": user}, {"$max": {"last_active_at": at}}) for user, at in seen.items()]
        try:
            await self._users.bulk_write(updates, ordered=False)
        except PyMongoError as error:
            log.warning("activity is not written", extra={"users": len(seen), "error": type(error).__name__})
