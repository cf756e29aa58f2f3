"""What a scope grants. A scope is the tenant's own: a string or an object, as it stands in `Claims.scope`."""

import re
from collections.abc import Iterator

from ..contracts.wire import Scope

#: RFC 6749, 3.3: what the name of a scope is made of.
SCOPE_NAME = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


def scope_names(*lists: str) -> tuple[str, ...]:
    """The names in lists as RFC 6749 has them, separated by spaces. Raises `ValueError` for what can be no name."""
    names = tuple(name for names in lists for name in names.split(" ") if name)
    for name in names:
        if not SCOPE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name of a scope: RFC 6749, 3.3")
    return names


def granted(scope: Scope) -> frozenset[str]:
    """The names that a scope grants.

    A string is a list separated by spaces. An object stands for such a list: a member `company` of the value
    `"read write"` or `["read", "write"]` grants `company:read` and `company:write`, a member `admin` of the value
    `true` grants `admin`, and any other value grants nothing.
    """
    if isinstance(scope, str):
        return frozenset(_words(scope))
    if isinstance(scope, dict):
        return frozenset(name for member, value in scope.items() for name in _granted_by(member, value))
    return frozenset()


def _granted_by(member: str, value: object) -> Iterator[str]:
    match value:
        case True:
            yield member
        case str():
            yield from (f"{member}:{word}" for word in _words(value))
        case list():
            yield from (f"{member}:{word}" for word in value if isinstance(word, str) and word)


def _words(text: str) -> Iterator[str]:
    return (word for word in text.split(" ") if word)
