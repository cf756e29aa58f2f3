"""Ports of the service as a whole: the audit trail, the database and the clock."""

from collections.abc import Collection, Sequence, Set as AbstractSet
from datetime import datetime
from typing import Protocol

from worker.domain.audit_records import AuditQuery, StoredAuditRecord


class Audit(Protocol):
    """The audit trails of tenants: what was done or tried with a tenant's accounts. Only that tenant may read them."""

    async def append(self, record: StoredAuditRecord) -> None:
        """Store a record durably. An existing record with the same id is kept unchanged."""

    def attempted(self, record: StoredAuditRecord) -> None:
        """Queue the record of a refused attempt, to be written in a batch soon. Never raises, never waits.

        Attempts with the same id share one record, which counts them.
        """

    async def page(self, query: AuditQuery, limit: int) -> Sequence[StoredAuditRecord]:
        """Return up to `limit` records that match the query, the newest first."""


class SweepLeases(Protocol):
    """Leases on background work, so that one worker does what several would do twice. A failover may lose them."""

    async def take(self, names: Collection[str], now: datetime, until: datetime) -> AbstractSet[str]:
        """Return those of the leases that this worker holds until `until`: free ones, and its own, which it extends."""


class Database(Protocol):
    async def ping(self) -> bool:
        """Return whether the database replies within about a second."""


class Clock(Protocol):
    def now(self) -> datetime: ...
