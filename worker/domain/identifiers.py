"""Ids of tenants and users: random, opaque and never reused."""

import secrets

#: 120 random bits, base64url.
ID_BYTES = 15


def new_id() -> str:
    """Return a random id for a new tenant or user."""
    return secrets.token_urlsafe(ID_BYTES)
