"""Broker definitions for an upgrade, while processes of two versions run.

The new version's definitions alone would revoke permissions that old processes still need; see
docs/deployment.md.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

Definitions = dict[str, Any]
Entry = dict[str, Any]

#: Members of definitions that hold permissions as regular expressions.
PERMISSION_MEMBERS = ("configure", "write", "read")


def of_both(old: Definitions, new: Definitions) -> Definitions:
    """Return the new definitions plus everything that only the old ones permit.

    Limits and policies are the new ones. Raises `ValueError` if the two are for different virtual hosts.
    """
    if old["vhosts"] != new["vhosts"]:
        raise ValueError("both definitions must be for the same virtual host")
    return {
        **new,
        "users": _either(old["users"], new["users"]),
        "permissions": _joined(old["permissions"], new["permissions"]),
        "topic_permissions": [
            entry
            for entry in _joined(old["topic_permissions"], new["topic_permissions"])
            if not (_unrestricted(old, entry) or _unrestricted(new, entry))
        ],
        "exchanges": _either(old["exchanges"], new["exchanges"]),
        "bindings": _either(old["bindings"], new["bindings"]),
    }


def _either(old: Sequence[Entry], new: Sequence[Entry]) -> list[Entry]:
    """Return the new entries, and the old entries that no new entry replaces."""
    known = set(map(_identity, new))
    return [*new, *(entry for entry in old if _identity(entry) not in known)]


def _joined(old: Sequence[Entry], new: Sequence[Entry]) -> list[Entry]:
    """Return the entries of both; corresponding entries are merged and permit what either permits."""
    before = {_identity(entry): entry for entry in old}
    return [_join(before.get(_identity(entry), entry), entry) for entry in _either(old, new)]


def _join(old: Entry, new: Entry) -> Entry:
    different = (name for name in PERMISSION_MEMBERS if old.get(name) != new.get(name))
    # "" alone allows nothing, and as a part of a pattern everything.
    return {**new, **{name: "|".join(filter(None, (old[name], new[name]))) for name in different}}


def _unrestricted(definitions: Definitions, topic: Entry) -> bool:
    """Return whether a user may use any routing key of this exchange, which holds without a topic permission."""
    if _identity(topic) in map(_identity, definitions["topic_permissions"]):
        return False
    allowed = [each for each in definitions["permissions"] if each["user"] == topic["user"]]
    patterns = filter(None, (each[name] for each in allowed for name in ("write", "read")))  # "" allows nothing
    return any(re.search(pattern, topic["exchange"]) for pattern in patterns)


def _identity(entry: Entry) -> str:
    """Return a key that is equal for corresponding entries of two versions: its names, without its content."""
    if "source" in entry:
        return json.dumps(entry, sort_keys=True)
    return json.dumps([entry.get(member) for member in ("vhost", "user", "name", "exchange")])
