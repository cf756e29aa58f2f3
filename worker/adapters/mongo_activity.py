"""Last activity of users, written to MongoDB in batches, since it changes with each request and is rarely read."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime

from pymongo import UpdateOne
from pymongo.errors import PyMongoError

from worker.adapters.mongo_database import MongoDatabase

log = logging.getLogger(__name__)


class MongoActivity:
    """Implements the port `Activity`. A crash loses the activity since the last write."""

    def __init__(self, database: MongoDatabase) -> None:
        self._users = database.collection("users")
        self._seen: dict[str, datetime] = {}

    def seen(self, user: str, at: datetime) -> None:
        self._seen[user] = at

    async def write_forever(self, interval_seconds: float) -> None:
        """Write at this interval until cancelled."""
        while True:
            await asyncio.sleep(interval_seconds)
            try:
                await self.write()
            except Exception:  # one failure must not stop the loop, or memory would fill with unwritten activity
                log.exception("activity is not written")

    async def write(self) -> None:
        """Write the activity since the last write. A failed write is not retried: active users are seen again."""
        seen: Mapping[str, datetime] = self._seen
        self._seen = {}
        if not seen:
            return
        updates = [UpdateOne({"_id": user}, {"$max": {"last_active_at": at}}) for user, at in seen.items()]
        try:
            await self._users.bulk_write(updates, ordered=False)
        except PyMongoError as error:
            log.warning("activity is not written", extra={"users": len(seen), "error": type(error).__name__})
