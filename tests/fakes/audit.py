"""Fake of the `Audit` port, kept in memory; it passes the contract suite of the real adapter."""

from collections.abc import Sequence
from dataclasses import replace

from worker.domain.audit_records import AuditQuery, StoredAuditRecord


class FakeAudit:
    """Implements the port `Audit`. Refused attempts are recorded at once."""

    def __init__(self) -> None:
        self.records: dict[str, StoredAuditRecord] = {}

    async def append(self, record: StoredAuditRecord) -> None:
        self.records.setdefault(record.id, record)

    def attempted(self, record: StoredAuditRecord) -> None:
        attempts = self.records[record.id].attempts if record.id in self.records else 0
        first = self.records.get(record.id, record)
        self.records[record.id] = replace(first, attempts=attempts + record.attempts)

    async def write(self) -> None:
        """Do nothing: this fake buffers no records."""

    async def page(self, query: AuditQuery, limit: int) -> Sequence[StoredAuditRecord]:
        found = [
            record
            for record in self.records.values()
            if record.tenant == query.tenant
            and query.type in (None, record.type)
            and (not query.logins or record.login in query.logins)
            and query.from_position <= record.position < query.to_position
        ]
        return sorted(found, key=lambda record: record.position, reverse=True)[:limit]
