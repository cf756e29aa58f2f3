"""Definitions for the time of an upgrade, when processes of two versions are there: what either of them may do.

Those of the new version alone would take from the old processes what only they need; see docs/deployment.md.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

Definitions = dict[str, Any]
Entry = dict[str, Any]

#: RabbitMQ's permissions are regular expressions in these members.
PERMISSION_MEMBERS = ("configure", "write", "read")


def of_both(old: Definitions, new: Definitions) -> Definitions:
    """Return the new definitions, and beside them all that only the old ones allow.

    Limits and policies are those of the new ones. Raises `ValueError` if the two are of different virtual hosts.
    """
    if old["vhosts"] != new["vhosts"]:
        raise ValueError("both definitions must be of the same virtual host")
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
    """The new entries, and the old ones that are no other form of a new one."""
    known = set(map(_identity, new))
    return [*new, *(entry for entry in old if _identity(entry) not in known)]


def _joined(old: Sequence[Entry], new: Sequence[Entry]) -> list[Entry]:
    """The entries of both, each of which allows what the old and the new one of its kind allow."""
    before = {_identity(entry): entry for entry in old}
    return [_join(before.get(_identity(entry), entry), entry) for entry in _either(old, new)]


def _join(old: Entry, new: Entry) -> Entry:
    different = (name for name in PERMISSION_MEMBERS if old.get(name) != new.get(name))
    # "" alone allows nothing, and as a part of a pattern everything.
    return {**new, **{name: "|".join(filter(None, (old[name], new[name]))) for name in different}}


def _unrestricted(definitions: Definitions, topic: Entry) -> bool:
    """Whether a user may publish or bind under any routing key of this exchange: RabbitMQ's rule without an entry."""
    if _identity(topic) in map(_identity, definitions["topic_permissions"]):
        return False
    allowed = [each for each in definitions["permissions"] if each["user"] == topic["user"]]
    patterns = filter(None, (each[name] for each in allowed for name in ("write", "read")))  # "" allows nothing
    return any(re.search(pattern, topic["exchange"]) for pattern in patterns)


def _identity(entry: Entry) -> str:
    """What makes an entry of definitions the same one, whatever it says: whose it is, of what, and where."""
    if "source" in entry:
        return json.dumps(entry, sort_keys=True)
    return json.dumps([entry.get(member) for member in ("vhost", "user", "name", "exchange")])
