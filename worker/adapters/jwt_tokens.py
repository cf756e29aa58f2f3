"""Tokens as JWTs (RFC 7519) by the rules of RFC 8725: one algorithm, explicit types, one key per session."""

import functools
import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

import jwt
from jwt.utils import base64url_decode, base64url_encode
from pydantic_core import from_json

from shared.contracts.claims import TENANT_TYPE, Claims
from shared.contracts.errors import InvalidToken
from shared.contracts.wire import MAX_TOKEN_CHARS
from worker.domain.records import SessionKind, StoredSession

ALGORITHM = "HS256"
#: The hash function of HS256 (RFC 7518, 3.2). Signatures are verified here and not by PyJWT's
#: `decode`, which checks at each token whether the key may belong to other algorithms. That took
#: five times as long as all other steps.
DIGEST: Final = "sha256"
#: RFC 8725, 3.11: a token of one kind can never pass as one of the other.
USER_TYPE = "jincor-user+jwt"
ACCESS_TYPE = "jincor-access+jwt"
OPERATOR_TYPE = "jincor-operator+jwt"
#: A new kind of token gets a type of its own, so that workers without it refuse the token
#: (docs/decisions/0032).
_TYPES = {
    SessionKind.TENANT: TENANT_TYPE,
    SessionKind.USER: USER_TYPE,
    SessionKind.KEY: ACCESS_TYPE,
    SessionKind.OPERATOR: OPERATOR_TYPE,
}
#: Separates session keys from other keys that may be derived from a master key in the future.
KEY_PURPOSE = b"jincor-auth session key v1"

#: Size of the header cache: each check reads a header twice, and a tenant token's header very
#: often. Less than 1 MB.
HEADERS_REMEMBERED: Final = 2_048
#: Our headers have about 130 characters. A longer one is not ours, and must not fill the cache.
MAX_HEADER_CHARS: Final = 256

#: Valid signatures that are not computed again; expiry and revocation are checked each time. It
#: takes 9 µs, and services send a user's token again and again. Less than 8 MB.
SIGNATURES_REMEMBERED: Final = 2_048
#: Longer tokens, whose scope is unusually large, are not remembered.
MAX_REMEMBERED_CHARS: Final = 1_024

#: RFC 7515, 7.1, without the padding that PyJWT tolerates. A token has exactly one spelling, so
#: that caches can use it as their key.
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_SESSION_ID = re.compile(r"[A-Za-z0-9_-]{22,64}")
_HEADER_MEMBERS = {"alg", "typ", "kid"}
#: An API key may outlive the master key that was the first when it was made, so each access token names the master key
#: that signed it.
_ACCESS_HEADER_MEMBERS = {*_HEADER_MEMBERS, "mki"}


class JwtTokens:
    """Implements the port `Tokens`. A token's `kid` is the id of its session, which holds half of its key."""

    def __init__(self, master_keys: Mapping[str, bytes], issuer: str) -> None:
        """The first master key signs; all of them verify."""
        self._master_keys = dict(master_keys)
        self._issuer = issuer
        self._signing_key_id = next(iter(self._master_keys))

    @property
    def issuer(self) -> str:
        return self._issuer

    @property
    def signing_key_id(self) -> str:
        return self._signing_key_id

    def sign(self, session: StoredSession, claims: Claims) -> str:
        is_access_token = session.kind is SessionKind.KEY
        master_key_id = self._signing_key_id if is_access_token else session.master_key_id
        return jwt.encode(
            claims.model_dump(mode="json", exclude_unset=True),
            self._key(session, master_key_id),
            ALGORITHM,
            headers={
                "typ": _TYPES[session.kind],
                "kid": session.id,
                **({"mki": master_key_id} if is_access_token else {}),
            },
        )

    def session_id(self, token: str) -> str | None:
        header = _header(token)
        return header.session_id if header else None

    def verify(self, token: str, session: StoredSession, now: datetime) -> Claims:
        header = _header(token)
        if header is None or (header.type, header.session_id) != (_TYPES[session.kind], session.id):
            raise InvalidToken
        named = header.master_key_id
        key = self._key(session, session.master_key_id if named is None else named)
        is_short = len(token) <= MAX_REMEMBERED_CHARS
        claims = (_signed_claims if is_short else _signed_claims.__wrapped__)(token, key)
        audience = session.tenant if session.kind is SessionKind.USER else self._issuer
        if claims.iss != self._issuer or claims.aud != audience:
            raise InvalidToken
        if now.timestamp() >= claims.exp or now >= session.expires_at:
            raise InvalidToken
        return claims

    def _key(self, session: StoredSession, master_key_id: str) -> bytes:
        """Return the session's key. Neither the database nor the master key alone suffices to compute it."""
        master_key = self._master_keys.get(master_key_id)
        if master_key is None:  # the key was removed in a rotation, and its tokens are invalid
            raise InvalidToken
        return hmac.digest(master_key, b"\0".join((KEY_PURPOSE, session.id.encode(), session.secret)), DIGEST)


@functools.lru_cache(SIGNATURES_REMEMBERED)
def _signed_claims(token: str, key: bytes) -> Claims:
    """Return the claims of a token with a valid signature. Raises `InvalidToken`, which is not remembered."""
    signed, _, signature = token.encode().rpartition(b".")
    # The encoded signature is compared, so that only one of its possible base64url spellings is
    # accepted.
    if not hmac.compare_digest(signature, base64url_encode(hmac.digest(key, signed, DIGEST))):
        raise InvalidToken
    try:
        return Claims.model_validate_json(base64url_decode(signed.partition(b".")[2]))
    except ValueError:  # claims of another version
        raise InvalidToken from None


class _Header(NamedTuple):
    type: str
    session_id: str
    master_key_id: str | None
    """Only access tokens name it."""


def _header(token: str) -> _Header | None:
    """Return the unverified header of a token, or None if it cannot be a token of ours."""
    compact = _COMPACT.fullmatch(token) if len(token) <= MAX_TOKEN_CHARS else None
    return _read_header(compact[1]) if compact and len(compact[1]) <= MAX_HEADER_CHARS else None


@functools.lru_cache(HEADERS_REMEMBERED)
def _read_header(encoded: str) -> _Header | None:
    try:
        header = from_json(base64url_decode(encoded))
    except ValueError:
        return None
    if not (isinstance(header, dict) and all(isinstance(value, str) for value in header.values())):
        return None
    members = _ACCESS_HEADER_MEMBERS if header.get("typ") == ACCESS_TYPE else _HEADER_MEMBERS
    if header.keys() != members or header["alg"] != ALGORITHM or header["typ"] not in _TYPES.values():
        return None
    return _Header(header["typ"], header["kid"], header.get("mki")) if _SESSION_ID.fullmatch(header["kid"]) else None
