"""Codes with which a tenant that has lost its password can set a new one."""

import hashlib
import secrets
from datetime import timedelta

#: Time to hand the code over and to use it.
LIFETIME = timedelta(hours=1)
#: 192 random bits, base64url: nobody guesses it, and no slow hash is needed.
CODE_BYTES = 24


def new_code() -> str:
    """Return a random code."""
    return secrets.token_urlsafe(CODE_BYTES)


def code_digest(code: str) -> bytes:
    """Return what is stored of a code."""
    return hashlib.sha256(code.encode()).digest()
