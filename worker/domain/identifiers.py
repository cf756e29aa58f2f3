"""How tenants and users are called: by ids that are opaque, and never met twice."""

import secrets

#: 120 random bits, base64url.
ID_BYTES = 15


def new_id() -> str:
    """The id of a new tenant or user."""
    return secrets.token_urlsafe(ID_BYTES)
