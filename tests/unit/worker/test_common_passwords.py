"""The list of passwords that nobody may choose."""

import sys
import unicodedata

import pytest

from worker.adapters.common_passwords import common_passwords

COMMON = common_passwords()


@pytest.mark.parametrize("password", ["password", "12345678", "1qaz2wsx", "iloveyou", "trustno1", "government"])
def test_what_many_people_choose_is_on_it(password: str) -> None:
    """Passwords that leaked again and again, and words that everybody knows."""
    assert password in COMMON


@pytest.mark.parametrize(
    "password", ["correct horse battery", "correct horse battery staple", "another fine password", "long enough"]
)
def test_what_nobody_is_likely_to_try_is_not(password: str) -> None:
    """Several words are not one of them. The documents, the examples and these tests use such."""
    assert password not in COMMON


def test_it_is_written_as_it_is_compared() -> None:
    """In lower case and in NFKC form, and nothing that is too short for a password takes room."""
    assert len(COMMON) > 40_000
    assert all(len(word) >= 8 for word in COMMON)
    assert all(unicodedata.normalize("NFKC", word).casefold() == word for word in COMMON)


def test_it_takes_some_megabytes() -> None:
    """What docs/configuration.md says of a password worker's memory."""
    assert sys.getsizeof(COMMON) + sum(map(sys.getsizeof, COMMON)) < 5_000_000
