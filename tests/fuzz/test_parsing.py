"""Generated input for the parsers of tokens, claims and messages."""

import base64
import hmac
import json

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from shared.contracts.claims import Claims
from shared.contracts.errors import AuthError, ErrorReply, InvalidRequest, InvalidToken, from_reply
from shared.contracts.event_list import EventListRequest
from shared.contracts.events import SessionRevokedEvent
from shared.contracts.user_list import UserListRequest
from shared.contracts.wire import WireModel
from tests.fuzz.conftest import bounded, tried
from tests.records import a_session, some_claims
from worker.adapters.jwt_tokens import KEY_PURPOSE, JwtTokens

ISSUER = "jincor-auth"
MASTER_KEY = b"k" * 32
TOKENS = JwtTokens({"test": MASTER_KEY}, ISSUER)
SESSION = a_session()
CLAIMS = some_claims(iss=ISSUER, aud=SESSION.tenant, exp=int(SESSION.expires_at.timestamp()), jti=SESSION.id)
TOKEN = TOKENS.sign(SESSION, CLAIMS)
#: The key of the session's tokens, computed as somebody would who has both halves of it.
SESSION_KEY = hmac.digest(MASTER_KEY, b"\0".join((KEY_PURPOSE, SESSION.id.encode(), SESSION.secret)), "sha256")


def encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None, categories=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
json_bytes = json_values.map(lambda value: json.dumps(value).encode())
claim_names = st.sampled_from([field.alias or name for name, field in Claims.model_fields.items()])
segments = st.one_of(
    st.binary(max_size=200).map(encoded),
    json_bytes.map(encoded),
    st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit"]), json_values).map(
        lambda header: encoded(json.dumps(header).encode())
    ),
    st.sampled_from([*TOKEN.split("."), "", "=", "-", "A" * 30_000]),
    st.text(max_size=20),
)


@bounded(1_000)
@given(st.lists(segments, max_size=5).map(".".join))
def test_any_text_other_than_the_token_is_an_invalid_token(text: str) -> None:
    """No other exception is raised."""
    tried["tokens"] += 1
    session_id = TOKENS.session_id(text)
    assert session_id is None or (isinstance(session_id, str) and 22 <= len(session_id) <= 64)
    if text == TOKEN:
        return
    with pytest.raises(InvalidToken):
        TOKENS.verify(text, SESSION, SESSION.issued_at)


@bounded(500)
@given(st.binary(max_size=300) | json_bytes | st.dictionaries(claim_names, json_values).map(json.dumps).map(str.encode))
def test_any_signed_payload_other_than_own_claims_is_an_invalid_token(payload: bytes) -> None:
    """The payload is signed with the right key."""
    tried["signed payloads"] += 1
    signed = f"{TOKEN.split('.')[0]}.{encoded(payload)}"
    assert TOKEN.rpartition(".")[2] == _signature(TOKEN.rpartition(".")[0], SESSION_KEY)
    forged = f"{signed}.{_signature(signed, SESSION_KEY)}"
    with pytest.raises(InvalidToken):
        TOKENS.verify(forged, SESSION, SESSION.issued_at)


def _signature(signed: str, key: bytes) -> str:
    return encoded(hmac.digest(key, signed.encode(), "sha256"))


@bounded(500)
@given(st.sampled_from([Claims, SessionRevokedEvent, ErrorReply, EventListRequest, UserListRequest]), json_bytes)
def test_any_json_is_a_message_or_a_refusal_without_its_content(model: type[WireModel], body: bytes) -> None:
    tried["messages"] += 1
    try:
        message = model.model_validate_json(body)
    except ValidationError as error:
        assert InvalidRequest.from_validation(error).problems  # noqa: PT017 - most are refused, and some are not
        return
    assert model.model_validate_json(message.to_json()) == message
    if isinstance(message, ErrorReply):
        assert isinstance(from_reply(message), AuthError)
