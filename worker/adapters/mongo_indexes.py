"""Index creation by the operator's command. Workers only look which indexes are missing."""

import asyncio
from collections.abc import Callable
from typing import Any

from worker.adapters.index_definitions import INDEXES
from worker.adapters.mongo_database import MongoDatabase

#: Between two looks at an index build, which may take hours.
LOOK_SECONDS = 1.0
#: A build ends when this many members have it. The database's default is every voting member, and
#: such a build never ends while one of them is down.
COMMIT_QUORUM = "majority"


async def create_indexes(database: MongoDatabase, on_wait: Callable[[str], None] = lambda _: None) -> list[str]:
    """Create the missing indexes, and return their names as `collection.index`. May be repeated.

    A build goes on in the database when its client is gone, and a repeated command would wait
    behind it inside the database. So a collection's running build is waited for first; `on_wait`
    gets the name of that collection. Raises the driver's errors: `DuplicateKeyError` if documents
    contradict a unique index.
    """
    created = []
    options: dict[str, Any] = {"commitQuorum": COMMIT_QUORUM} if await database.is_replicated() else {}
    for name, indexes in INDEXES.items():
        collection = database.collection(name)
        while await database.indexes_in_progress(name):
            on_wait(name)
            await asyncio.sleep(LOOK_SECONDS)
        existing = await collection.index_information()
        if missing := [index for index in indexes if index.document["name"] not in existing]:
            await collection.create_indexes(missing, **options)
            created += [f"{name}.{index.document['name']}" for index in missing]
    return created
