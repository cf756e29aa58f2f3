"""A user as its tenant sees it."""

from .wire import Milliseconds, Scope, WireModel


class User(WireModel):
    """An account of a tenant. Never its password, and never the hash of it."""

    id: str
    login: str
    email: str
    tenant: str
    scope: Scope
    sub: str
    registration_date: Milliseconds
    last_activity: Milliseconds
    """Last login or verification, late by some seconds: it is written in batches."""
