"""The metadata of a request, and the facts that an operation proves about it for the audit record."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from shared.contracts.events import RevocationReason


@dataclass(slots=True)
class AuditFacts:
    """Facts for the audit record that an operation sets as soon as they are proven."""

    tenant: str | None = None
    """The tenant whose audit trail gets the record. None: no record is written."""
    login: str | None = None
    """The account that the request is about, if the request does not name it."""
    session: str | None = None
    """The session that was created or revoked, if the request does not name it."""
    reason: RevocationReason | None = None
    """Why the request revoked sessions."""
    changed: tuple[str, ...] = ()
    """The names of the user's members that the request changed, never their values."""
    by_operator: bool = False
    """Whether the caller proved itself with the registration key."""
    actor: str | None = None
    """The credential that the caller used, unless it is the tenant's own token: see `Principal.actor`."""
    operators_tenant: str | None = None
    """The tenant of the operator that sends the request. Its audit trail gets a record, too. None: no operator."""
    locked: bool = False
    """Whether the attempt was refused because the account is locked after too many consecutive wrong passwords."""


@dataclass(frozen=True, slots=True)
class Call:
    """The metadata of one request. A retried or redelivered request has the same message id."""

    message_id: str
    redelivered: bool = False
    """Set by the broker: the request was delivered to a worker before. A caller cannot set it."""
    request_id: str | None = None
    """The id under which logs mention the request."""
    service: str | None = None
    """The service that sent the request, known from the exchange it was published to, which a caller cannot choose.

    None: an edge sent it.
    """
    expires_at: float | None = None
    """When the caller stops waiting for a reply, in event-loop time. None: the request has no deadline."""
    audit_facts: AuditFacts = field(default_factory=AuditFacts, compare=False)

    def client(self, said: IPv4Address | IPv6Address | None) -> IPv4Address | IPv6Address | None:
        """Return the client address in the request if an edge sent it, else None: a service could send any address."""
        return said if self.service is None else None
