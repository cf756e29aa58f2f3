"""Which code points are not displayed, and in which form logins are."""

import unicodedata

import pytest
from hypothesis import given, strategies as st
from pydantic import TypeAdapter, ValidationError

from shared.contracts import names
from shared.contracts.wire import Name, NewLogin

EVERYTHING = [chr(number) for number in range(0x110000)]
IGNORABLE = {character for character in EVERYTHING if names.has_ignorable(character)}
#: DerivedCoreProperties.txt takes these format characters out: signs of Arabic, Syriac, Kaithi and Egyptian that are
#: displayed, and three that annotate.
DISPLAYED_FORMATS = {
    *range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD, *range(0xFFF9, 0xFFFC),
    *range(0x13430, 0x13440),
}  # fmt: skip


def test_the_ignorable_code_points_are_those_of_unicode() -> None:
    """As many as DerivedCoreProperties.txt of Unicode 17.0 counts, and among them all that Python's tables tell of."""
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
def test_what_people_use_is_displayed(login: str) -> None:
    assert names.displayed_form(login) == login
    assert not names.is_reserved(login)


@pytest.mark.parametrize("login", ["tenant:", "tenant:x", "Tenant:x", "TENANT:x", "ｔｅｎａｎｔ：x", "tenant\uff1ax"])  # noqa: RUF001 - full-width letters
def test_what_looks_like_a_tenant_is_reserved(login: str) -> None:
    assert names.is_reserved(login)


@given(st.text(min_size=1, max_size=20))
def test_a_new_login_has_one_form(typed: str) -> None:
    """An accepted login is in NFC, is accepted again as it is, is named as it is, and looks as nothing else does."""
    new_login = TypeAdapter[str](NewLogin)
    try:
        login = new_login.validate_python(typed)
    except ValidationError:
        return
    assert unicodedata.is_normalized("NFC", login)
    assert new_login.validate_python(login) == login == names.nfc(typed) == names.displayed_form(login)
    assert TypeAdapter[str](Name).validate_python(login) == login
    assert new_login.validate_python(names.nfd(login)) == login
