"""Ids of sessions, which are computed from the login."""

import itertools

from tests.fakes import MASTER_KEYS
from tests.records import a_session, some_claims
from worker.adapters.jwt_tokens import JwtTokens
from worker.domain.session_opening import session_id

#: No text passes as several parts, as a part of them, or as none.
TEXTS = ("a", "b", "ab", 'a", "b', "null", "None", "", "a\0b", "\u00e9", "e\u0301")


def test_ids_of_different_logins_differ_whatever_their_parts_contain() -> None:
    logins = list(itertools.product(TEXTS, (*TEXTS, None), TEXTS))
    assert len({session_id(*login) for login in logins}) == len(logins)


def test_id_of_a_login_is_the_same_in_every_version() -> None:
    """A changed rule would open a second session for a login that two versions get."""
    assert session_id("shop", "ann", "key") == "13bd6f16145230fdf49ba4c8fcf2bf69"
    assert session_id("shop", None, "key") == "3111800f2261e48df39b8cf5c610b1af"


def test_token_of_a_session_with_such_an_id_names_it() -> None:
    tokens = JwtTokens(MASTER_KEYS, "jincor-auth")
    session = a_session(id=session_id("shop", None, "key"), master_key_id=tokens.signing_key_id)
    assert tokens.session_id(tokens.sign(session, some_claims())) == session.id
