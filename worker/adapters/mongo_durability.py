"""Writes and reads of documents that a majority of the replica set has, so that no election removes them.

A read from the primary also returns writes that no majority has yet. An answer that relies on such
a write would be wrong after an election. Two things prevent this:

- A write that changes nothing waits for the majority like any other write: `insert`.
- Reads with majority read concern return only what a majority has: `insert_only`, `committed`.
"""

from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from shared.contracts.errors import Unavailable
from worker.adapters.mongo_database import Collection, Document

#: Removes a field that no document has, so it changes nothing.
_NO_CHANGE: Document = {"$unset": {"no_such_field": ""}}


async def insert(collection: Collection, document: Document, shard_key: tuple[str, ...] = ("_id",)) -> None:
    """Insert a document durably. Raises `DuplicateKeyError` if another document is there, which is durable then.

    `shard_key` names the fields that determine the shard of the other document.
    """
    try:
        await collection.insert_one(document)
    except DuplicateKeyError:
        # The error may come with a write concern error, which the driver drops.
        await collection.update_one({name: document[name] for name in shard_key}, _NO_CHANGE)
        raise


async def insert_only(collection: Collection, document: Document, shard_key: tuple[str, ...] = ("_id",)) -> None:
    """Insert a document durably into a collection whose documents workers may not change.

    If one with this `_id` is there, it stays. Raises `Unavailable` if a majority does not have it.
    `shard_key` names `_id` and the other fields that determine its shard.
    """
    try:
        await collection.insert_one(document)
    except DuplicateKeyError:
        found = {name: document[name] for name in shard_key}
        if await committed(collection).find_one(found, ["_id"]) is None:
            raise Unavailable from None


def committed(collection: Collection) -> Collection:
    """Return the collection for reads of what a majority has: for events, which nobody can take back.

    Such a read sees every write that was acknowledged to this worker. It may miss newer ones.
    """
    return collection.with_options(read_concern=ReadConcern("majority"))
