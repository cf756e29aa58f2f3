"""Code points without a visible form, and the form of new logins."""

import unicodedata

import pytest
from hypothesis import given, strategies as st
from pydantic import TypeAdapter, ValidationError

from shared.contracts import names
from shared.contracts.wire import Name, NewLogin

EVERYTHING = [chr(number) for number in range(0x110000)]
IGNORABLE = {character for character in EVERYTHING if names.has_ignorable(character)}
#: Format characters that DerivedCoreProperties.txt excludes: visible signs of Arabic, Syriac, Kaithi and Egyptian, and
#: three annotation characters.
DISPLAYED_FORMATS = {
    *range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD, *range(0xFFF9, 0xFFFC),
    *range(0x13430, 0x13440),
}  # fmt: skip


def test_ignorable_code_points_are_those_of_unicode_17() -> None:
    """The count is that of DerivedCoreProperties.txt; Python's tables name a part of them."""
    assert len(IGNORABLE) == 4174
    assert {unicodedata.category(character) for character in IGNORABLE} <= {"Cf", "Cn", "Lo", "Mn"}
    known = {each: unicodedata.name(each, "") for each in EVERYTHING}
    formats = {each for each in known if unicodedata.category(each) == "Cf" and ord(each) not in DISPLAYED_FORMATS}
    selectors = {each for each, name in known.items() if "VARIATION SELECTOR" in name}
    fillers = {each for each, name in known.items() if name.startswith("HANGUL") and name.endswith("FILLER")}
    assert formats | selectors | fillers <= IGNORABLE


@pytest.mark.parametrize(
    "login", ["ann", "tenant", "a tenant:", "tenants:", "Ünï 漢字 🙂", "نام", "नाम", "\U0001d482nn"]
)
def test_common_login_is_displayed_unchanged(login: str) -> None:
    assert names.displayed_form(login) == login
    assert not names.is_reserved(login)


@pytest.mark.parametrize("login", ["tenant:", "tenant:x", "Tenant:x", "TENANT:x", "ｔｅｎａｎｔ：x", "tenant\uff1ax"])  # noqa: RUF001 - full-width letters
def test_login_that_looks_like_a_tenant_is_reserved(login: str) -> None:
    assert names.is_reserved(login)


@given(st.text(min_size=1, max_size=20))
def test_accepted_login_is_in_nfc_and_accepted_again(typed: str) -> None:
    """No other accepted login looks the same."""
    new_login = TypeAdapter[str](NewLogin)
    try:
        login = new_login.validate_python(typed)
    except ValidationError:
        return
    assert unicodedata.is_normalized("NFC", login)
    assert new_login.validate_python(login) == login == names.nfc(typed) == names.displayed_form(login)
    assert TypeAdapter[str](Name).validate_python(login) == login
    assert new_login.validate_python(names.nfd(login)) == login
