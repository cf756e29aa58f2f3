"""The form of an API key: a prefix, the key's id, its secret, and a checksum.

`jak_<id: 22 characters><secret: 43 characters><checksum: 6 characters>`, letters and digits only. Secret scanners
find keys by `PATTERN`, and tell them from other text by the checksum (CRC-32 of everything before it, in base 62).
"""

import re
import secrets
import string
import zlib

PREFIX = "jak_"
#: Regular expression for secret scanners.
PATTERN = r"\bjak_[0-9A-Za-z]{71}\b"

#: 22 characters hold 128 bits.
ID_CHARS = 22
#: 43 characters hold 256 bits.
SECRET_CHARS = 43
SECRET_BITS = 256
CHECKSUM_CHARS = 6

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_KEY = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{ID_CHARS}}})[0-9A-Za-z]{{{SECRET_CHARS + CHECKSUM_CHARS}}}")


def base62(number: int, width: int) -> str:
    """Return a number in base 62, with leading zeros."""
    digits = []
    for _ in range(width):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    if number:
        raise ValueError("the number has more digits")
    return "".join(reversed(digits))


def new_api_key(key_id: str) -> str:
    """Return a new API key with this id and 256 random bits."""
    text = PREFIX + key_id + base62(secrets.randbits(SECRET_BITS), SECRET_CHARS)
    return text + _checksum(text)


def api_key_id(text: str) -> str | None:
    """Return the id of an API key, or None if the text is none. The secret is not verified."""
    match = _KEY.fullmatch(text)
    if match is None or _checksum(text[:-CHECKSUM_CHARS]) != text[-CHECKSUM_CHARS:]:
        return None
    return match[1]


def _checksum(text: str) -> str:
    return base62(zlib.crc32(text.encode()), CHECKSUM_CHARS)
