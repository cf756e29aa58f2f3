"""A user as its tenant sees it."""

from .wire import Milliseconds, Scope, StoredEmail, WireModel


class User(WireModel):
    """A user of a tenant. It never holds the password or its hash."""

    id: str
    login: str
    email: StoredEmail
    tenant: str
    scope: Scope
    sub: str
    registration_date: Milliseconds
    last_activity: Milliseconds
    """Time of the last login or verification. Workers write it in batches, so it is some seconds
    late."""
