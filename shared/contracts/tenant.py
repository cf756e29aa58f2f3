"""A tenant as operators see it."""

from .wire import Milliseconds, StoredEmail, WireModel

#: Counts up to this are exact. The database counts no further for a reply.
MAX_EXACT_COUNT = 1_000


class Count(WireModel):
    """A number of records, exact up to 1,000."""

    value: int
    exact: bool
    """Whether the number was counted for this reply. False: there are too many for that, and workers count them in
    the background, after a reply that shows an old number."""
    at: Milliseconds | None
    """When it was counted. Null: never yet; `value` is then the least that it can be."""


class Tenant(WireModel):
    """A tenant. It never holds the password or its hash."""

    id: str
    email: StoredEmail
    registered_at: Milliseconds
    disabled: bool
    users: Count
    sessions: Count
    """Live sessions of the tenant's users, without those of the tenant itself and API keys."""
