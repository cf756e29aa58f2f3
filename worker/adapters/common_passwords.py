"""Common passwords, which attackers try first: the frequency lists of zxcvbn.

The set holds its most frequent passwords, words and names of at least the minimum password length:
41,621 entries, some 4.5 MB. Its strength estimator is not used: 256 characters chosen for that kept
it busy for 39 seconds.
"""

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

from shared.contracts.wire import MIN_PASSWORD_CHARS


def common_passwords() -> frozenset[str]:
    """Return the common passwords, in lower case."""
    package = find_spec("zxcvbn")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("zxcvbn")
    # Only this file is loaded: importing the package builds the estimator's tables, which take 10
    # MB in each worker.
    spec = spec_from_file_location("zxcvbn_frequency_lists", Path(package.origin).with_name("frequency_lists.py"))
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError("zxcvbn.frequency_lists")
    lists = module_from_spec(spec)
    spec.loader.exec_module(lists)
    words = (word for words in lists.FREQUENCY_LISTS.values() for word in words)
    return frozenset(word.casefold() for word in words if len(word) >= MIN_PASSWORD_CHARS)
