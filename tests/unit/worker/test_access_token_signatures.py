"""Signatures of access tokens: each names the master key that signed it, since an API key may outlive several."""

import base64
import hmac
import json
from typing import Any

import pytest

from shared.contracts.claims import TENANT_TYPE, Claims
from shared.contracts.errors import InvalidToken
from tests.fakes import ISSUER, MASTER_KEYS, NOW
from tests.records import a_session, an_api_key
from worker.adapters.jwt_tokens import ACCESS_TYPE, KEY_PURPOSE, OPERATOR_TYPE, USER_TYPE, JwtTokens
from worker.domain.records import StoredSession

TOKENS = JwtTokens(MASTER_KEYS, ISSUER)
KEY, _ = an_api_key()
NEW_KEYS = {"newer": b"n" * 32}
HEADER = {"alg": "HS256", "typ": ACCESS_TYPE, "kid": KEY.id, "mki": "test"}


def claims(session: StoredSession = KEY) -> Claims:
    issued_at = int(NOW.timestamp())
    return Claims(
        iss=ISSUER,
        aud=ISSUER,
        sub=session.id,
        iat=issued_at,
        exp=issued_at + 60,
        jti="random",
        id=session.tenant,
        login="gateway",
        tenant=session.tenant,
        scope="users:read",
        client_id=session.id,
    )


def encoded(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def forged(header: dict[str, Any], session: StoredSession = KEY) -> str:
    """Return an access token with another header, signed with the right key."""
    signed = f"{encoded(header)}.{encoded(claims(session).model_dump(exclude_unset=True))}"
    parts = (KEY_PURPOSE, session.id.encode(), session.secret)
    key = hmac.digest(MASTER_KEYS["test"], b"\0".join(parts), "sha256")
    return f"{signed}.{encoded(hmac.digest(key, signed.encode(), 'sha256'))}"


def test_access_token_verifies_to_its_claims() -> None:
    """The forged one shows that the tokens below are refused for their header only."""
    for token in (TOKENS.sign(KEY, claims()), forged(HEADER)):
        assert TOKENS.session_id(token) == KEY.id
        assert TOKENS.verify(token, KEY, NOW).client_id == KEY.id


def test_access_token_of_a_key_that_is_older_than_the_master_keys_verifies() -> None:
    """A master key is removed once all sessions that it signed are over; an API key may last for years."""
    both, rotated = JwtTokens({**NEW_KEYS, **MASTER_KEYS}, ISSUER), JwtTokens(NEW_KEYS, ISSUER)
    before, after = TOKENS.sign(KEY, claims()), both.sign(KEY, claims())
    assert both.verify(before, KEY, NOW) == both.verify(after, KEY, NOW)
    assert rotated.verify(after, KEY, NOW)
    for tokens, token in ((rotated, before), (TOKENS, after)):
        with pytest.raises(InvalidToken):
            tokens.verify(token, KEY, NOW)


@pytest.mark.parametrize(
    "header",
    [
        {**HEADER, "mki": "unknown"},
        {**HEADER, "mki": ""},
        {**HEADER, "mki": None},
        {name: value for name, value in HEADER.items() if name != "mki"},
        {**HEADER, "more": "x"},
        {**HEADER, "alg": "none"},
        {**HEADER, "kid": "0" * 22},
        *({**HEADER, "typ": other} for other in (TENANT_TYPE, USER_TYPE, OPERATOR_TYPE, "at+jwt")),
        *({"alg": "HS256", "typ": other, "kid": KEY.id} for other in (TENANT_TYPE, USER_TYPE, OPERATOR_TYPE)),
    ],
    ids=str,
)
def test_access_token_with_another_header_is_refused(header: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        TOKENS.verify(forged(header), KEY, NOW)


@pytest.mark.parametrize("owner", [{"user": None}, {"user": "ann"}, {"user": "ann", "is_operator": True}], ids=str)
def test_access_token_is_no_token_of_another_kind_of_session(owner: dict[str, Any]) -> None:
    """Even with the right key of that session."""
    session = a_session(**owner)
    with pytest.raises(InvalidToken):
        TOKENS.verify(forged({**HEADER, "kid": session.id}, session), session, NOW)
