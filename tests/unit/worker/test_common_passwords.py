"""The list of common passwords, which the password policy refuses."""

import sys
import unicodedata

import pytest

from worker.adapters.common_passwords import common_passwords

COMMON = common_passwords()


@pytest.mark.parametrize("password", ["password", "12345678", "1qaz2wsx", "iloveyou", "trustno1", "government"])
def test_common_password_is_on_the_list(password: str) -> None:
    """Frequently leaked passwords and common words."""
    assert password in COMMON


@pytest.mark.parametrize(
    "password", ["correct horse battery", "correct horse battery staple", "another fine password", "long enough"]
)
def test_password_of_several_words_is_not_on_the_list(password: str) -> None:
    """The documents, the examples and these tests use such passwords."""
    assert password not in COMMON


def test_listed_passwords_are_in_lower_case_nfkc_and_long_enough() -> None:
    """Passwords below the minimum length would waste memory."""
    assert len(COMMON) > 40_000
    assert all(len(word) >= 8 for word in COMMON)
    assert all(unicodedata.normalize("NFKC", word).casefold() == word for word in COMMON)


def test_list_takes_less_than_five_megabytes() -> None:
    """docs/configuration.md states this as the memory of a password worker."""
    assert sys.getsizeof(COMMON) + sum(map(sys.getsizeof, COMMON)) < 5_000_000
