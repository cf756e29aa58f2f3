"""The records of the audit trail, and queries for them, as they pass between operations and adapters.

All datetimes are aware and UTC.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class StoredAuditRecord:
    """One record of the audit trail. It contains no secret and nothing derived from a secret."""

    id: str
    """The same for all attempts that this record counts, and for all deliveries of one request."""
    tenant: str
    at: datetime
    type: str
    outcome: str
    login: str | None = None
    session: str | None = None
    device_id: str | None = None
    client_address: str | None = None
    service: str | None = None
    """The service that sent the request through the broker. None: an edge sent it."""
    reason: str | None = None
    changed: tuple[str, ...] = ()
    by_operator: bool = False
    actor: str | None = None
    """The credential that was used: see `Principal.actor`. None: the tenant itself."""
    on_tenant: str | None = None
    """In the operators' trail: the tenant that the operator acted on. None: the operators' tenant itself."""
    request_id: str | None = None
    attempts: int = 1

    @property
    def position(self) -> str:
        """The sort key among the tenant's records: by time, then by id."""
        return audit_position(int(self.at.timestamp() * 1000), self.id)


#: The lowest id: ids are 128 bits in hexadecimal.
FIRST_ID = "0" * 32


def audit_position(milliseconds: int, id_: str = FIRST_ID) -> str:
    """Return the sort key of a record with this time and id; without an id, the lowest of this time. Sorts as text."""
    return f"{milliseconds:015d}.{id_}"


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which audit records of a tenant to return. Times are in milliseconds since the epoch."""

    tenant: str
    type: str | None
    logins: AbstractSet[str]
    """Spellings of one login. Empty: records of all logins."""
    since: int
    until: int
    before: str | None
    """The position of the last record of the previous page."""

    @property
    def from_position(self) -> str:
        """The lowest position that matches."""
        return audit_position(self.since)

    @property
    def to_position(self) -> str:
        """The position at which the query ends, itself excluded."""
        until = audit_position(self.until)
        return until if self.before is None else min(until, self.before)
