"""Queries that several adapters share: pages without `getMore`, tenants with unfinished work, counts in steps."""

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TypeVar

from pymongo import ASCENDING

from worker.adapters.mongo_database import Collection, Cursor, Document, unavailable_when_away

log = logging.getLogger(__name__)

RecordT = TypeVar("RecordT")

#: Documents counted per query when all of a tenant are counted.
COUNT_STEP = 10_000


def readable(documents: Iterable[Document], read: Callable[[Document], RecordT]) -> list[RecordT]:
    """Return the records of the documents that can be read.

    An unreadable document, for example one that a newer version wrote, is logged and skipped.
    """
    records = []
    for document in documents:
        try:
            records.append(read(document))
        except (KeyError, TypeError, ValueError) as error:
            log.error(  # noqa: TRY400 - the traceback adds nothing
                "document cannot be read and is passed over",
                extra={"id": document["_id"], "error": type(error).__name__},
            )
    return records


async def first_found(found: Cursor, limit: int) -> list[Document]:
    """Return the first `limit` documents of a query, all from the database's first answer.

    Otherwise that has 101 documents, and the driver does not repeat the command for more
    (`getMore`) when the primary changes.
    """
    return await found.limit(limit).batch_size(limit).to_list(limit)


async def first_readable(
    found: Cursor,
    read: Callable[[Document], RecordT],
    limit: int,
    is_wanted: Callable[[Document], bool] = lambda _: True,
) -> list[RecordT]:
    """Return the first `limit` wanted records that can be read. Fewer than `limit` means that there are no more."""
    records: list[RecordT] = []
    found.batch_size(limit)
    try:
        while len(records) < limit and (documents := await found.to_list(limit - len(records))):
            records += readable(filter(is_wanted, documents), read)
    finally:
        await found.close()
    return records


async def tenants_with(collection: Collection, field: str, older_than: datetime) -> Sequence[str]:
    """Return the ids of the tenants that have unfinished work older than this in the collection.

    Usually there is none, and this costs one read of a sparse index. Otherwise the index by tenant
    and field is scanned from tenant to tenant (a DISTINCT_SCAN with bounds for both), so no
    tenant's backlog is read.
    """
    left: Document = {field: {"$lt": older_than}}
    with unavailable_when_away():
        if await collection.find_one(left, ["_id"]) is None:
            return []
        return list(await collection.distinct("tenant", {"tenant": {"$gt": ""}, **left}))


async def counted_in_steps(collection: Collection, tenant: str, field: str, wanted: Document) -> int:
    """Return the number of the tenant's documents that match, in ranges of `field`, a text.

    Each range is a query of its own, so that none takes the database long.
    """
    counted, after = 0, ""
    while True:
        with unavailable_when_away():
            of_range: Document = {"$gt": after}
            rest = collection.find({"tenant": tenant, field: of_range}, {"_id": False, field: True})
            last = await rest.sort([("tenant", ASCENDING), (field, ASCENDING)]).skip(COUNT_STEP - 1).limit(1).to_list(1)
            if last:
                of_range = {"$gt": after, "$lte": last[0][field]}
            counted += await collection.count_documents({"tenant": tenant, field: of_range, **wanted})
        if not last:
            return counted
        after = last[0][field]
