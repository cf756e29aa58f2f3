"""Verification of tokens: only a token that this service signed for that session is accepted."""

import base64
import hashlib
import hmac
import json
import string
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given, settings, strategies as st

from shared.contracts.claims import TENANT_TYPE, Claims
from shared.contracts.errors import InvalidToken
from shared.contracts.wire import MAX_EMAIL_CHARS, MAX_NAME_CHARS, MAX_SCOPE_CHARS, MAX_TOKEN_CHARS
from tests.fakes import ISSUER, MASTER_KEYS, NOW
from tests.records import a_session
from worker.adapters.jwt_tokens import KEY_PURPOSE, USER_TYPE, JwtTokens
from worker.domain.records import StoredSession

TOKENS = JwtTokens(MASTER_KEYS, ISSUER)
SESSION = a_session()
TENANT_SESSION = a_session(user=None, device_id=None)
BASE64URL = string.ascii_letters + string.digits + "-_"


def claims_of(session: StoredSession, **changes: Any) -> Claims:
    claims = Claims(
        iss=ISSUER,
        aud=session.tenant if session.user else ISSUER,
        sub="007",
        iat=int(session.issued_at.timestamp()),
        exp=int(session.expires_at.timestamp()),
        jti=session.id,
        id=session.user or session.tenant,
        login=session.login,
        tenant=session.tenant,
        scope={"read": [1, None]},
    )
    return claims.model_copy(update=changes)


TOKEN = TOKENS.sign(SESSION, claims_of(SESSION))


def key_of(session: StoredSession, master_key: bytes = MASTER_KEYS["test"]) -> bytes:
    """Derive the key of a session from both halves."""
    return hmac.digest(master_key, b"\0".join((KEY_PURPOSE, session.id.encode(), session.secret)), "sha256")


def encoded(value: bytes | object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decoded(segment: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(segment + "=="))


def forged(header: object = None, payload: object = None, *, key: bytes | None = None, digest: str = "sha256") -> str:
    """Return `TOKEN` with another header or payload, signed with the right key by default."""
    segments = [
        TOKEN.split(".")[0] if header is None else encoded(header),
        TOKEN.split(".")[1] if payload is None else encoded(payload),
    ]
    signature = hmac.digest(key or key_of(SESSION), ".".join(segments).encode(), digest)
    return ".".join([*segments, encoded(signature)])


HEADER: dict[str, Any] = decoded(TOKEN.split(".")[0])
PAYLOAD: dict[str, Any] = decoded(TOKEN.split(".")[1])


def refused(token: str, session: StoredSession = SESSION, now: datetime = NOW, tokens: JwtTokens = TOKENS) -> bool:
    """Return whether the token is refused as an invalid token."""
    session_id = tokens.session_id(token)
    assert session_id is None or isinstance(session_id, str)
    try:
        tokens.verify(token, session, now)
    except InvalidToken:
        return True
    return False


def test_signed_token_verifies_to_its_claims() -> None:
    """This holds for users and for tenants."""
    for session in (SESSION, TENANT_SESSION):
        claims = claims_of(session)
        token = TOKENS.sign(session, claims)
        assert TOKENS.session_id(token) == session.id
        assert TOKENS.verify(token, session, NOW) == claims


def test_forged_token_with_right_key_header_and_claims_is_accepted() -> None:
    """Shows that the forgeries below are refused for their one change."""
    assert forged() == TOKEN
    assert forged(HEADER, PAYLOAD) != TOKEN
    assert not refused(forged(HEADER, PAYLOAD))


def test_token_reveals_no_part_of_its_key() -> None:
    readable = base64.urlsafe_b64decode(TOKEN.replace(".", "") + "==")
    for secret in (SESSION.secret, MASTER_KEYS["test"], key_of(SESSION)):
        assert secret not in readable
        assert secret.hex() not in TOKEN
        assert encoded(secret) not in TOKEN


def test_token_signed_twice_with_the_same_claims_is_the_same() -> None:
    assert TOKENS.sign(SESSION, claims_of(SESSION)) == TOKEN


@pytest.mark.parametrize(
    "header",
    [
        {**HEADER, "alg": "none"},
        {**HEADER, "alg": "None"},
        {**HEADER, "alg": "hs256"},
        {**HEADER, "alg": "HS512"},
        {**HEADER, "alg": "RS256"},
        {**HEADER, "alg": ["HS256"]},
        {**HEADER, "alg": None},
        {**HEADER, "typ": "JWT"},
        {**HEADER, "typ": "jincor-key+jwt"},
        {**HEADER, "typ": USER_TYPE.upper()},
        {**HEADER, "typ": ""},
        {**HEADER, "typ": None},
        {**HEADER, "typ": TENANT_TYPE},
        {**HEADER, "typ": {}},
        {**HEADER, "typ": [USER_TYPE]},
        {**HEADER, "kid": "another-session-of-24-chars"},
        {**HEADER, "kid": TENANT_SESSION.id},
        {**HEADER, "kid": {"$ne": None}},
        {**HEADER, "kid": {}},
        {**HEADER, "kid": [SESSION.id]},
        {**HEADER, "kid": 1},
        {**HEADER, "kid": None},
        {**HEADER, "kid": True},
        {**HEADER, "kid": ""},
        {**HEADER, "kid": "../../etc/passwd"},
        {**HEADER, "kid": SESSION.id + "\n"},
        {**HEADER, "kid": "漢" * 24},
        {**HEADER, "kid": "x" * 65},
        {**HEADER, "jku": "https://evil.example/keys"},
        {**HEADER, "jwk": {"kty": "oct", "k": "AAAA"}},
        {**HEADER, "x5u": "https://evil.example/"},
        {**HEADER, "crit": ["exp"]},
        {**HEADER, "b64": False},
        {**HEADER, "zip": "DEF"},
        {**HEADER, "": ""},
        {member: HEADER[member] for member in ("alg", "kid")},
        {member: HEADER[member] for member in ("alg", "typ")},
        {member: HEADER[member] for member in ("typ", "kid")},
        {},
        [],
        [HEADER],
        "HS256",
        1,
        True,
        b"",
        b"null",
        b"\xff\xfe",
        b"{",
        b'{"alg":"HS256"',
        b"[" * 5_000 + b"]" * 5_000,
        b'{"kid":' * 1_500 + b"1" + b"}" * 1_500,
        b"1" * 5_000,
        b'"\\ud800"',
        b"NaN",
        json.dumps(HEADER).encode() + b" x",
    ],
    ids=lambda header: repr(header)[:60],
)
def test_token_with_another_header_is_refused(header: object) -> None:
    """Its signature is right."""
    assert refused(forged(header))


@pytest.mark.parametrize("changes", [{"alg": "none"}, {"alg": "HS512"}, {"kid": {}}, {"kid": ["x" * 32]}, {"jku": ""}])
def test_token_with_a_foreign_header_names_no_session(changes: dict[str, Any]) -> None:
    """Therefore it costs no lookup."""
    assert TOKENS.session_id(forged(HEADER)) == SESSION.id
    assert TOKENS.session_id(forged({**HEADER, **changes})) is None


@pytest.mark.parametrize("digest", ["sha512", "sha384", "sha1", "md5"])
def test_signature_with_another_digest_is_refused(digest: str) -> None:
    assert refused(forged(digest=digest))
    assert refused(jwt.encode(PAYLOAD, key_of(SESSION) * 2, "HS512", headers=HEADER))


def test_token_without_a_signature_is_refused() -> None:
    """`alg: none` is refused with and without a signature."""
    unsigned = jwt.encode(PAYLOAD, None, "none", headers={"kid": SESSION.id, "typ": USER_TYPE})
    header, payload, signature = TOKEN.split(".")
    for token in (
        unsigned,
        unsigned + signature,
        f"{header}.{payload}.",
        f"{header}.{payload}",
        f"{header}..{signature}",
        f".{payload}.{signature}",
    ):
        assert refused(token)


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": PAYLOAD["exp"] + 3600},
        {"iat": 0},
        {"login": "admin"},
        {"id": "bob"},
        {"sub": "root"},
        {"tenant": "bank"},
        {"aud": "bank"},
        {"scope": "all"},
        {"isTenant": True},
    ],
    ids=str,
)
def test_token_with_changed_claims_is_refused(changes: dict[str, Any]) -> None:
    """The signature no longer matches."""
    header, _, signature = TOKEN.split(".")
    assert refused(f"{header}.{encoded({**PAYLOAD, **changes})}.{signature}")


@pytest.mark.parametrize(
    "key",
    [
        SESSION.secret,
        MASTER_KEYS["test"],
        key_of(SESSION, bytes(32)),
        key_of(replace(SESSION, secret=bytes(32))),
        key_of(TENANT_SESSION),
        hashlib.sha256(b"").digest(),
        b"\0",
    ],
)
def test_signature_with_another_key_is_refused(key: bytes) -> None:
    """Half of the key is not enough, nor is the key of another session."""
    assert refused(forged(key=key))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "another issuer"},
        {"iss": [ISSUER]},
        {"iss": None},
        {"aud": "bank"},
        {"aud": ISSUER},
        {"aud": []},
        {"aud": {}},
        {"aud": None},
        {"exp": None},
        {"exp": "tomorrow"},
        {"iat": None},
    ],
    ids=str,
)
def test_signed_token_with_foreign_claims_is_refused(changes: dict[str, Any]) -> None:
    """Wrong or missing issuer, audience and times are refused even with the right key."""
    assert refused(forged(None, {**PAYLOAD, **changes}))
    (member,) = changes
    assert refused(forged(None, {name: value for name, value in PAYLOAD.items() if name != member}))


@pytest.mark.parametrize("payload", [b"", b"null", b"[]", b'"text"', b"\xff", b"{", b"[" * 5_000])
def test_signed_token_whose_payload_is_no_object_is_refused(payload: bytes) -> None:
    assert refused(forged(None, payload))


def test_token_of_another_session_is_refused() -> None:
    for other in (a_session(), a_session(secret=SESSION.secret), a_session(user="bob"), a_session(tenant="bank")):
        assert refused(TOKEN, other)
        assert refused(forged({**HEADER, "kid": other.id}), other)


def test_token_of_the_other_kind_is_refused() -> None:
    """A user token is no tenant token, even for a session with the same id and secret."""
    as_tenant = replace(SESSION, user=None)
    assert refused(TOKEN, as_tenant)
    assert refused(forged({**HEADER, "typ": TENANT_TYPE}), as_tenant)
    as_user = replace(TENANT_SESSION, user="ann")
    assert refused(TOKENS.sign(TENANT_SESSION, claims_of(TENANT_SESSION)), as_user)


def test_token_expires_at_the_second_of_exp() -> None:
    assert not refused(TOKEN, now=SESSION.expires_at - timedelta(milliseconds=1))
    for late in (timedelta(0), timedelta(milliseconds=1), timedelta(days=365_000)):
        assert refused(TOKEN, now=SESSION.expires_at + late)


def test_token_that_expires_before_its_session_is_refused() -> None:
    soon = NOW + timedelta(hours=1)
    token = TOKENS.sign(SESSION, claims_of(SESSION, exp=int(soon.timestamp())))
    assert not refused(token, now=soon - timedelta(milliseconds=1))
    assert refused(token, now=soon)


def test_token_of_an_expired_session_is_refused_with_any_exp() -> None:
    """The stored session decides."""
    stretched = TOKENS.sign(SESSION, claims_of(SESSION, exp=PAYLOAD["exp"] + 3600))
    assert not refused(stretched)
    assert refused(stretched, now=SESSION.expires_at)
    shortened = replace(SESSION, expires_at=NOW)
    assert refused(TOKEN, shortened)


OLD, NEW = b"o" * 32, b"n" * 32


def test_tokens_of_all_configured_master_keys_are_accepted() -> None:
    """New tokens use the first key."""
    before = JwtTokens({"old": OLD}, ISSUER)
    during = JwtTokens({"new": NEW, "old": OLD}, ISSUER)
    after = JwtTokens({"new": NEW}, ISSUER)
    assert (before.signing_key_id, during.signing_key_id, after.signing_key_id) == ("old", "new", "new")
    older, newer = a_session(master_key_id="old"), a_session(master_key_id="new")
    old_token, new_token = before.sign(older, claims_of(older)), during.sign(newer, claims_of(newer))
    assert not refused(old_token, older, tokens=during)
    assert not refused(new_token, newer, tokens=during)
    assert not refused(new_token, newer, tokens=after)
    assert refused(new_token, newer, tokens=before)


def test_token_of_a_removed_master_key_is_refused() -> None:
    """The token stays refused if another key has the old id, or the old key another id."""
    session = a_session(master_key_id="old")
    token = JwtTokens({"old": OLD}, ISSUER).sign(session, claims_of(session))
    for keys in ({"new": NEW}, {"new": OLD}, {"old": NEW}):
        assert refused(token, session, tokens=JwtTokens(keys, ISSUER))


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "x" * 1_000_000,
        "." * 1_000_000,
        ".".join(["e30"] * 300_000),
        TOKEN + "x" * MAX_TOKEN_CHARS,
        "🙂",
        "\ud800",
        "\0",
        TOKEN.partition(".")[0] + ".\ud800.\udfff",
        TOKEN.upper(),
        f" {TOKEN}",
        f"{TOKEN} ",
        f"{TOKEN}\n",
        f"Bearer {TOKEN}",
        f"{TOKEN}.",
        f".{TOKEN}",
        f"{TOKEN}=",
        f"{TOKEN}!",
        f"{TOKEN[:-5]}!{TOKEN[-5:]}",
        f"{TOKEN}.{TOKEN}",
        TOKEN.replace(".", ". "),
        json.dumps({"payload": TOKEN.split(".")[1], "signature": TOKEN.split(".")[2]}),
    ],
    ids=lambda token: ascii(token[:20]),
)
def test_malformed_token_names_no_session_and_is_refused(token: str) -> None:
    """Only the exact spelling of a token is accepted."""
    assert TOKENS.session_id(token) is None
    assert refused(token)


def test_token_with_the_largest_claims_is_accepted() -> None:
    """Every claim is at its limit, in the characters that take the most room."""
    wide = "🙂" * MAX_NAME_CHARS
    scope = "🙂" * ((MAX_SCOPE_CHARS - 2) // 12)
    session = a_session(login=wide, device_id=wide, id="s" * 64)
    claims = claims_of(session, sub=wide, device_id=wide, scope=scope)
    token = TOKENS.sign(session, claims)
    assert TOKENS.verify(token, session, NOW) == claims
    tenant_session = replace(session, user=None, login="tenant:" + "🙂" * MAX_EMAIL_CHARS)
    assert not refused(TOKENS.sign(tenant_session, claims_of(tenant_session)), tenant_session)


def test_token_with_one_changed_or_missing_character_is_refused() -> None:
    for position in range(len(TOKEN)):
        left, right = TOKEN[:position], TOKEN[position + 1 :]
        assert refused(left + right)
        for other in BASE64URL if position >= len(TOKEN) - 43 else BASE64URL[position % 8 :: 8]:
            assert refused(left + other + right) or left + other + right == TOKEN


texts = st.text(st.characters(codec=None, categories=None)) | st.text(BASE64URL + ".=")


@settings(deadline=None)
@given(texts)
def test_arbitrary_text_is_refused(text: str) -> None:
    assert refused(text)


@settings(deadline=None)
@given(head=texts, middle=texts, tail=texts, keep=st.sets(st.sampled_from([0, 1, 2]), max_size=2))
def test_token_with_arbitrary_segments_is_refused(head: str, middle: str, tail: str, keep: set[int]) -> None:
    segments = TOKEN.split(".")
    mixed = ".".join(
        segments[position] if position in keep else (head, middle, tail)[position] for position in range(3)
    )
    assert refused(mixed)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit"]), json_values))
def test_token_with_arbitrary_header_members_is_refused(changes: dict[str, Any]) -> None:
    header = {**HEADER, **changes}
    assert refused(forged(header)) == (header != HEADER)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["iss", "aud", "exp", "iat", "nbf", "sub", "jti"]), json_values, min_size=1))
def test_arbitrary_claims_without_the_key_are_refused(changes: dict[str, Any]) -> None:
    assert refused(forged(None, {**PAYLOAD, **changes}, key=b"guessed" * 5))


@pytest.mark.parametrize("kind", ["jincor-key+jwt", "JWT", f"{USER_TYPE}+v2", ["JWT"], None])
def test_token_of_an_unknown_type_names_no_session(kind: object) -> None:
    """A newer kind of token is refused before any lookup, even with a right signature."""
    token = forged({**HEADER, "typ": kind}, PAYLOAD)
    assert TOKENS.session_id(token) is None
    assert refused(token)
