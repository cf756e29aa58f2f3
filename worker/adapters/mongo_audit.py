"""The audit trail in MongoDB. Records of changes are written at once, records of refused attempts in batches."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import asdict, fields as fields_of, replace
from datetime import timedelta

import pymongo
from pymongo import DESCENDING, UpdateOne
from pymongo.errors import BulkWriteError, PyMongoError

from worker.adapters import mongo_durability
from worker.adapters.mongo_database import (
    MAX_PAGE_SECONDS,
    Document,
    MongoDatabase,
    refused_as_duplicates,
    unavailable_when_away,
)
from worker.adapters.mongo_queries import first_found, first_readable
from worker.domain.audit import OK
from worker.domain.audit_records import AuditQuery, StoredAuditRecord

log = logging.getLogger(__name__)

#: A refused attempt can be read after this time at the latest. A crash loses the attempts of one
#: interval.
INTERVAL_SECONDS = 1.0
#: Records kept in memory until they are written, about half a kilobyte each. Further ones are
#: dropped, and their number is logged.
MAX_WAITING = 4_096
_NAMES = {field.name for field in fields_of(StoredAuditRecord)} - {"id", "attempts"}
#: Members that are absent in records of older workers.
_ADDED = {"service", "actor", "on_tenant"}


class MongoAudit:
    """Implements the port `Audit`. With `kept_for=None` nothing is written, and existing records can be read."""

    def __init__(self, database: MongoDatabase, kept_for: timedelta | None, max_waiting: int = MAX_WAITING) -> None:
        self._records = database.collection("audit")
        # Further attempts of a record, counted beside it: workers may not change a record.
        self._refusals = database.collection("refusals")
        self._kept_for = kept_for
        self._max_waiting = max_waiting
        self._waiting: dict[str, StoredAuditRecord] = {}
        self._lost = 0

    async def append(self, record: StoredAuditRecord) -> None:
        if self._kept_for is None:
            return
        document = {"_id": record.id, **self._document(record, self._kept_for), "attempts": record.attempts}
        with unavailable_when_away():
            # If it is there, an earlier delivery of the request wrote it.
            await mongo_durability.insert_only(self._records, document, ("_id", "tenant"))

    def attempted(self, record: StoredAuditRecord) -> None:
        if self._kept_for is None:
            return
        if waiting := self._waiting.get(record.id):
            self._waiting[record.id] = replace(waiting, attempts=waiting.attempts + record.attempts)
        elif len(self._waiting) < self._max_waiting:
            self._waiting[record.id] = record
        else:
            self._lost += 1

    async def page(self, query: AuditQuery, limit: int) -> Sequence[StoredAuditRecord]:
        wanted: Document = {"tenant": query.tenant, "position": {"$gte": query.from_position, "$lt": query.to_position}}
        if query.type is not None:
            wanted["type"] = query.type
        if query.logins:
            first, *others = sorted(query.logins)
            wanted["login"] = {"$in": [first, *others]} if others else first
        with unavailable_when_away(), pymongo.timeout(MAX_PAGE_SECONDS):
            found = self._records.find(wanted).sort("position", DESCENDING)
            return await self._counted(await first_readable(found, _from_document, limit))

    async def write_forever(self, interval_seconds: float = INTERVAL_SECONDS) -> None:
        """Write the queued records at this interval until cancelled."""
        while True:
            await asyncio.sleep(interval_seconds)
            try:
                await self.write()
            except Exception:  # one failure must not stop the loop
                log.exception("audit records are lost")

    async def write(self) -> None:
        """Write the refused attempts since the last write. Attempts with the same id share one record."""
        waiting, self._waiting = self._waiting, {}
        lost, self._lost = self._lost, 0
        if lost:
            log.error("audit records are lost", extra={"records": lost, "error": "too many at a time"})
        if not waiting or self._kept_for is None:
            return
        documents = [{"_id": id_, **self._document(record, self._kept_for)} for id_, record in waiting.items()]
        for document in documents:
            document["attempts"] = waiting[document["_id"]].attempts
        try:
            try:
                await self._records.insert_many(documents, ordered=False)
            except BulkWriteError as error:  # these records exist: of an earlier batch, or of another worker
                existing = [documents[position] for position in refused_as_duplicates(error)]
                await self._refusals.bulk_write([_one_more_batch(each) for each in existing], ordered=False)
        except BulkWriteError as error:  # another worker inserted the same count at the same time
            log.warning("attempts are missing in audit records", extra={"records": len(error.details["writeErrors"])})
        except (PyMongoError, RuntimeError) as error:  # the worker's log still has a line for each request
            fields = {"records": len(waiting), "error": type(error).__name__}
            log.error("audit records are lost", extra=fields)  # noqa: TRY400 - the traceback adds nothing

    async def _counted(self, records: Sequence[StoredAuditRecord]) -> Sequence[StoredAuditRecord]:
        """Return the records with the attempts that were counted after they were written."""
        refused = [record.id for record in records if record.outcome != OK]
        if not refused:
            return records
        documents = await first_found(self._refusals.find({"_id": {"$in": refused}}), len(refused))
        more = {document["_id"]: document["attempts"] for document in documents}
        return [replace(record, attempts=record.attempts + more.get(record.id, 0)) for record in records]

    @staticmethod
    def _document(record: StoredAuditRecord, kept_for: timedelta) -> Document:
        document = {name: value for name, value in asdict(record).items() if name in _NAMES}
        return {
            **document,
            "changed": list(record.changed),
            "position": record.position,
            "expires_at": record.at + kept_for,
        }


def _one_more_batch(document: Document) -> UpdateOne:
    """Return an update that adds the document's attempts to those counted beside its record."""
    return UpdateOne(
        {"_id": document["_id"]},
        {"$setOnInsert": {"expires_at": document["expires_at"]}, "$inc": {"attempts": document["attempts"]}},
        upsert=True,
    )


def _from_document(document: Document) -> StoredAuditRecord:
    known = {name: document[name] for name in _NAMES if name not in _ADDED or name in document}
    return StoredAuditRecord(
        id=document["_id"], attempts=document["attempts"], **{**known, "changed": tuple(document["changed"])}
    )
