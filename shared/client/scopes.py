"""Scopes of user tokens: a string or an object that the tenant defines, as in `Claims.scope`."""

import re
from collections.abc import Iterator

from ..contracts.wire import Scope

#: The characters of a scope name (RFC 6749, 3.3).
SCOPE_NAME = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


def scope_names(*lists: str) -> tuple[str, ...]:
    """Return the names in space-separated lists (RFC 6749). Raises `ValueError` for an invalid
    name."""
    names = tuple(name for names in lists for name in names.split(" ") if name)
    for name in names:
        if not SCOPE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a valid scope name (RFC 6749, 3.3)")
    return names


def granted(scope: Scope) -> frozenset[str]:
    """Return the names that a scope grants.

    A string is a space-separated list of names. In an object, each member grants names:

    - `"company": "read write"` or `"company": ["read", "write"]` grants `company:read` and
      `company:write`;
    - `"admin": true` grants `admin`;
    - any other value grants nothing.
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
