"""bcrypt hashes of imported users: recognised and verified. New hashes are never bcrypt."""

import secrets

import bcrypt

from worker.importing.hashes import BCRYPT

#: bcrypt ignores the rest of a longer password, and so did the system that made the hash. The
#: `bcrypt` package refuses longer passwords. The hash is used for one login only, which replaces
#: it.
MAX_PASSWORD_BYTES = 72


def cost_of(password_hash: str) -> int | None:
    """Return the cost of a bcrypt hash, or None for other hashes. `2a`, `2b` and `2y` take the same time."""
    found = BCRYPT.fullmatch(password_hash)
    return int(found["cost"]) if found else None


def matches(password_hash: str, password: str) -> bool:
    """Return whether the bcrypt hash is of this password. Releases the GIL while it computes."""
    return bcrypt.checkpw(password.encode()[:MAX_PASSWORD_BYTES], password_hash.encode())


def dummy_hash(cost: int) -> str:
    """Return a bcrypt hash of a random password."""
    return bcrypt.hashpw(secrets.token_hex().encode(), bcrypt.gensalt(cost)).decode()
