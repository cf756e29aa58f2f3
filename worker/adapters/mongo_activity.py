"""Last activity of users, written to MongoDB in batches, since it changes with each request and is rarely read."""

import asyncio
import logging
from datetime import datetime
from typing import NamedTuple

from pymongo import UpdateOne, WriteConcern
from pymongo.errors import PyMongoError

from worker.adapters.mongo_database import MongoDatabase
from worker.domain.records import StoredSession

log = logging.getLogger(__name__)


#: Users per write, so that no write takes the database long.
CHUNK = 500
#: A failover may lose the latest activity, which active users repeat. So no write waits for a majority.
UNREPLICATED = WriteConcern(w=1, wtimeout=3_000)


class _User(NamedTuple):
    """A user by its id and shard key."""

    id: str
    tenant: str
    login: str


class MongoActivity:
    """Implements the port `Activity`. A crash loses the activity since the last write."""

    def __init__(self, database: MongoDatabase) -> None:
        self._users = database.collection("users").with_options(write_concern=UNREPLICATED)
        self._seen: dict[_User, datetime] = {}

    def seen(self, session: StoredSession, at: datetime) -> None:
        if session.user:
            self._seen[_User(session.user, session.tenant, session.login)] = at

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
        seen, self._seen = list(self._seen.items()), {}
        for begin in range(0, len(seen), CHUNK):
            chunk = seen[begin : begin + CHUNK]
            updates = [
                UpdateOne(
                    {"_id": user.id, "tenant": user.tenant, "login": user.login}, {"$max": {"last_active_at": at}}
                )
                for user, at in chunk
            ]
            try:
                await self._users.bulk_write(updates, ordered=False)
            except PyMongoError as error:  # the next chunk would fail too, and delay the end of the process
                fields = {"users": len(seen) - begin, "error": type(error).__name__}
                log.warning("activity is not written", extra=fields)
                return
