"""bcrypt hashes, which users bring from elsewhere: told from others, and verified. Nobody's password becomes one."""

import secrets

import bcrypt

from worker.importing.hashes import BCRYPT

#: bcrypt looks at no more of a password, and whoever made the hash let the rest not count: so it does not count here
#: either, for the one login at which the hash is used. The `bcrypt` package refuses to be given more.
MAX_PASSWORD_BYTES = 72


def cost_of(password_hash: str) -> int | None:
    """The exponent of its work; None if this is no bcrypt hash. `2a`, `2b` and `2y` take the same time."""
    found = BCRYPT.fullmatch(password_hash)
    return int(found["cost"]) if found else None


def is_right(password_hash: str, password: str) -> bool:
    """Whether it is the password of this bcrypt hash. Releases the GIL while it computes."""
    return bcrypt.checkpw(password.encode()[:MAX_PASSWORD_BYTES], password_hash.encode())


def dummy_hash(cost: int) -> str:
    """One of a password that nobody knows."""
    return bcrypt.hashpw(secrets.token_hex().encode(), bcrypt.gensalt(cost)).decode()
