"""The password hashes that an import accepts: bcrypt and argon2id, with bounded costs."""

import base64
import binascii
import re
from typing import Annotated

from pydantic import AfterValidator, SecretStr

#: The format of OpenBSD and its descendants. `2x` marks hashes of a flawed implementation and is
#: refused. In the last characters of salt and hash some bits are unused and must be zero; otherwise
#: no password ever matches.
BCRYPT = re.compile(r"\$2[aby]\$(?P<cost>\d\d)\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{30}[.CGKOSWaeimquy26]")
#: argon2's own format in its current version, 1.3.
ARGON2ID = re.compile(
    r"\$argon2id\$v=19\$m=(?P<memory_kib>[1-9]\d{0,9}),t=(?P<passes>[1-9]\d{0,9}),p=(?P<lanes>[1-9]\d{0,9})"
    r"\$(?P<salt>[A-Za-z0-9+/]+)\$(?P<hash>[A-Za-z0-9+/]+)"
)

#: 15 ms, half the time of one of our hashes. Weaker hashes in a stolen database can be attacked
#: many times as fast, until a login replaces them. Users with weaker hashes should choose a new
#: password instead.
MIN_BCRYPT_COST = 8
#: About a second. Wrong passwords of all accounts take this long, so that timing does not reveal
#: expensive hashes.
MAX_BCRYPT_COST = 14
#: 4 MiB in one pass take about 3 ms, and use memory, of which attackers' hardware has little.
#: Refuses weaker hashes for the same reason as MIN_BCRYPT_COST.
MIN_ARGON2_MEMORY_KIB = 4_096
#: Memory of one hashing thread. Two threads with it fit into the worker's container of
#: docker-compose.prod.yml.
MAX_ARGON2_MEMORY_KIB = 131_072
#: Memory times passes: about a second, like MAX_BCRYPT_COST.
MAX_ARGON2_WORK_KIB = 1_048_576
#: Threads that one hash starts, which compete with other hashes for cores. No library has a higher
#: default.
MAX_ARGON2_LANES = 8
#: RFC 9106, 3.1, requires at least 8 bytes of salt. The upper bounds are larger than those in
#: common use.
ARGON2_SALT_BYTES = range(8, 65)
#: Shorter hashes match many passwords.
ARGON2_HASH_BYTES = range(16, 65)


def _imported_hash(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if bcrypt := BCRYPT.fullmatch(text):
        if not MIN_BCRYPT_COST <= int(bcrypt["cost"]) <= MAX_BCRYPT_COST:
            raise ValueError(f"must have a bcrypt cost of {MIN_BCRYPT_COST} to {MAX_BCRYPT_COST}")
    elif argon2 := ARGON2ID.fullmatch(text):
        _check_argon2(argon2)
    else:
        raise ValueError(
            "must be a bcrypt hash ($2a$, $2b$ or $2y$, 60 characters) or an argon2id hash ($argon2id$v=19$)"
        )
    return secret


def _check_argon2(hash_: re.Match[str]) -> None:
    memory_kib, passes, lanes = int(hash_["memory_kib"]), int(hash_["passes"]), int(hash_["lanes"])
    if not MIN_ARGON2_MEMORY_KIB <= memory_kib <= MAX_ARGON2_MEMORY_KIB:
        raise ValueError(f"must have an argon2 memory (m) of {MIN_ARGON2_MEMORY_KIB} to {MAX_ARGON2_MEMORY_KIB} KiB")
    if memory_kib * passes > MAX_ARGON2_WORK_KIB:
        raise ValueError(f"must have an argon2 memory times passes (m times t) of {MAX_ARGON2_WORK_KIB} KiB at most")
    if lanes > MAX_ARGON2_LANES:
        raise ValueError(f"must have an argon2 parallelism (p) of {MAX_ARGON2_LANES} at most")
    if _decoded_bytes(hash_["salt"]) not in ARGON2_SALT_BYTES or _decoded_bytes(hash_["hash"]) not in ARGON2_HASH_BYTES:
        raise ValueError("must have a salt of 8 to 64 bytes and a hash of 16 to 64 bytes, in base64 without padding")


def _decoded_bytes(unpadded: str) -> int | None:
    """Return how many bytes this unpadded base64 text encodes, or None if argon2 would refuse its spelling."""
    try:
        decoded = base64.b64decode(unpadded + "=" * (-len(unpadded) % 4), validate=True)
    except binascii.Error:
        return None
    return len(decoded) if base64.b64encode(decoded).decode().rstrip("=") == unpadded else None


#: A hash that `worker.domain.ports.Hasher` can verify.
ImportedHash = Annotated[SecretStr, AfterValidator(_imported_hash)]
