"""What is known of a request besides its body, and what comes to be known while it is dealt with."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address


@dataclass(slots=True)
class Noted:
    """What an operation has proven about who asks for it, and what it did, for the audit trail."""

    tenant: str | None = None
    """Whose trail it belongs into."""
    login: str | None = None
    """Which account it is about, where the request does not say."""
    session: str | None = None
    """Which one began or ended, where the request does not say."""
    by_operator: bool = False
    """Who asked has the registration key."""
    locked: bool = False
    """The attempt was refused because too many before it were wrong in a row."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of a request besides its body. A request sent or delivered twice keeps its message id."""

    message_id: str
    redelivered: bool = False
    """Says the broker, and no caller can: another worker has had it before."""
    request_id: str | None = None
    """Finds it in the logs."""
    service: str | None = None
    """The service that sent it, by the exchange that it was published to, which no caller can choose. None: an edge."""
    expires_at: float | None = None
    """When nobody waits for its answer any more, in the time of the event loop. None: it does not say."""
    noted: Noted = field(default_factory=Noted, compare=False)

    def client(self, said: IPv4Address | IPv6Address | None) -> IPv4Address | IPv6Address | None:
        """Return the address that the request gives its client, if an edge sent it: a service could say anything."""
        return said if self.service is None else None
