"""The form of API keys."""

import re
import string

import pytest
from hypothesis import given, strategies as st

from shared.contracts.api_key import ID_CHARS, PATTERN, api_key_id, base62, new_api_key

KEY_ID = "0VfKe3RtQ8mLz2Xb9WsYcA"


def test_new_key_names_its_id_and_no_two_are_alike() -> None:
    keys = {new_api_key(KEY_ID) for _ in range(100)}
    assert len(keys) == 100
    assert {api_key_id(key) for key in keys} == {KEY_ID}


def test_pattern_finds_a_key_in_a_text() -> None:
    """Secret scanners search files for it."""
    key = new_api_key(KEY_ID)
    assert re.findall(PATTERN, f'AUTH_KEY="{key}" # {key[:-1]} x{key}') == [key]


@given(st.integers(min_value=0, max_value=74), st.sampled_from(string.ascii_letters + string.digits + "-._ \n"))
def test_key_with_one_other_character_is_refused(position: int, character: str) -> None:
    """The checksum finds each mistyped character."""
    key = new_api_key(KEY_ID)
    changed = key[:position] + character + key[position + 1 :]
    assert (api_key_id(changed) is None) == (changed != key)


@pytest.mark.parametrize("form", ["", "jak_", "a.b.c", "{key}0", " {key}", "{key}\n", "jak_" + "é" * 71])
def test_text_of_another_form_is_no_key(form: str) -> None:
    assert api_key_id(form.format(key=new_api_key(KEY_ID))) is None


def test_base62_keeps_order_and_width() -> None:
    assert base62(0, 3) == "000"
    assert base62(61, 1) == "z"
    assert len(base62(2**128 - 1, ID_CHARS)) == ID_CHARS
    with pytest.raises(ValueError, match="more digits"):
        base62(62, 1)
