"""Last activity of users and last use of API keys, written to MongoDB in batches.

Both change with each request and are rarely read.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from pymongo import UpdateOne, WriteConcern
from pymongo.errors import PyMongoError

from worker.adapters.mongo_database import Collection, MongoDatabase
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
        self._sessions = database.collection("sessions").with_options(write_concern=UNREPLICATED)
        self._seen: dict[_User, datetime] = {}
        self._used: dict[str, datetime] = {}

    def seen(self, session: StoredSession, at: datetime) -> None:
        if session.user:
            self._seen[_User(session.user, session.tenant, session.login)] = at

    def used(self, key: str, at: datetime) -> None:
        self._used[key] = at.replace(second=0, microsecond=0)

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
        seen, self._seen = self._seen, {}
        used, self._used = self._used, {}
        users = [
            UpdateOne({"_id": user.id, "tenant": user.tenant, "login": user.login}, {"$max": {"last_active_at": at}})
            for user, at in seen.items()
        ]
        # Only keys: a use would make a key of any other session.
        keys = [
            UpdateOne({"_id": key, "key.name": {"$exists": True}}, {"$max": {"key.used_at": at}})
            for key, at in used.items()
        ]
        if await self._written(self._users, users, "users"):
            await self._written(self._sessions, keys, "keys")

    async def _written(self, collection: Collection, updates: Sequence[UpdateOne], what: str) -> bool:
        for begin in range(0, len(updates), CHUNK):
            try:
                await collection.bulk_write(updates[begin : begin + CHUNK], ordered=False)
            except PyMongoError as error:  # the next chunk would fail too, and delay the end of the process
                fields = {what: len(updates) - begin, "error": type(error).__name__}
                log.warning("activity is not written", extra=fields)
                return False
        return True
