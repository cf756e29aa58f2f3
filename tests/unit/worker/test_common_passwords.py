"""The list of common passwords, which the password policy refuses."""

import subprocess
import sys
import unicodedata

import pytest

from shared.contracts.wire import MIN_PASSWORD_CHARS
from worker.adapters.common_passwords import common_passwords

COMMON = common_passwords()
#: Prints the megabytes of memory that the list takes, with the code that builds it.
MEASURE = """
from pathlib import Path
from worker.adapters.common_passwords import common_passwords

def resident():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line)

before = resident()
common = common_passwords()
print((resident() - before) / 1024)
"""


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
    """Exactly this many entries are long enough to be chosen as a password."""
    assert len([word for word in COMMON if len(word) >= MIN_PASSWORD_CHARS]) == 41_621
    assert all(unicodedata.normalize("NFKC", word).casefold() == word for word in COMMON)


def test_list_takes_between_5_and_20_megabytes() -> None:
    """docs/configuration.md states this as the memory of a password worker. Measured in a process of its own."""
    assert 5 < float(output_of(MEASURE)) < 20


def test_list_is_loaded_only_by_workers_that_call_it() -> None:
    """Workers without the password lane import the module and pay nothing."""
    code = "import sys, worker.adapters.common_passwords; print('zxcvbn' in sys.modules)"
    assert output_of(code) == "False\n"


def output_of(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout  # noqa: S603
