"""Which passwords' hashes that were made elsewhere are taken: bcrypt's and argon2id's, within bounds."""

import base64
import binascii
import re
from typing import Annotated

from pydantic import AfterValidator, SecretStr

#: As OpenBSD and its descendants write them. `2x` is the mark of a flaw in one of them. Of the last characters of salt
#: and hash some bits mean nothing and are zero: where they are not, no password is ever right.
BCRYPT = re.compile(r"\$2[aby]\$(?P<cost>\d\d)\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{30}[.CGKOSWaeimquy26]")
#: argon2's own format in its current version, 1.3.
ARGON2ID = re.compile(
    r"\$argon2id\$v=19\$m=(?P<memory_kib>[1-9]\d{0,9}),t=(?P<passes>[1-9]\d{0,9}),p=(?P<lanes>[1-9]\d{0,9})"
    r"\$(?P<salt>[A-Za-z0-9+/]+)\$(?P<hash>[A-Za-z0-9+/]+)"
)

#: 15 ms, as long as half of a hash of ours. Who steals the database guesses at weaker ones many times as fast, until
#: their users have logged in: those had better choose another password.
MIN_BCRYPT_COST = 8
#: A second. Each wrong password takes as long, for whichever account, since nobody shall see whose hash is dear.
MAX_BCRYPT_COST = 14
#: 4 MiB in one pass take some 3 ms, and memory that guessing machines have little of. Weaker as above.
MIN_ARGON2_MEMORY_KIB = 4_096
#: Each hashing thread takes as much. Two of them fit into the container that docker-compose.prod.yml gives a worker.
MAX_ARGON2_MEMORY_KIB = 131_072
#: Memory times passes: a second or so, as of bcrypt.
MAX_ARGON2_WORK_KIB = 1_048_576
#: Threads that one hash starts, which take cores from other hashes. No library has a greater default.
MAX_ARGON2_LANES = 8
#: RFC 9106, 3.1, allows from 8 bytes of salt. Of the rest more than anybody makes.
ARGON2_SALT_BYTES = range(8, 65)
#: Shorter ones are right for many passwords.
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
    """How many bytes this is in base64; None if it is not what those are written as, which argon2 refuses to read."""
    try:
        decoded = base64.b64decode(unpadded + "=" * (-len(unpadded) % 4), validate=True)
    except binascii.Error:
        return None
    return len(decoded) if base64.b64encode(decoded).decode().rstrip("=") == unpadded else None


#: A hash that `worker.domain.ports.Hasher` can verify.
ImportedHash = Annotated[SecretStr, AfterValidator(_imported_hash)]
