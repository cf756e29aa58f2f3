"""Random ids of tenants and users, and digests of requests, which recognise repeated ones."""

import hashlib
import json
import secrets

#: 120 random bits, base64url.
ID_BYTES = 15
#: 128 bits: two different requests, records or accounts must not collide.
DIGEST_BYTES = 16


def new_id() -> str:
    """Return a random id for a new tenant or user. Ids are opaque and never reused."""
    return secrets.token_urlsafe(ID_BYTES)


def digest(*parts: object) -> str:
    """Return a digest of these parts, which are of JSON types.

    The parts are hashed as a JSON list. Parts joined with a separator would collide, since callers
    choose most of them and could include the separator.
    """
    encoded = json.dumps(parts, sort_keys=True)
    return hashlib.blake2b(encoded.encode(), digest_size=DIGEST_BYTES).hexdigest()
