"""The indexes of the database's collections, and which existing indexes contradict them."""

from collections.abc import Iterable, Mapping
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel

from worker.domain.records import IDEMPOTENCY_WINDOW

#: Expired sessions are kept for a day, so that their unpublished events are not lost.
SESSION_KEPT_SECONDS = 24 * 3600


def _unfinished_by_tenant(field: str) -> IndexModel:
    """Return an index of unfinished work by tenant, so that a sweep can take a share of each tenant's work."""
    return IndexModel([("tenant", ASCENDING), (field, ASCENDING)], partialFilterExpression={field: {"$exists": True}})


#: Every worker reads the sparse indexes every second or two, so they contain unfinished work only.
#: Partial indexes would contain the same, but the embedded database does not use those for these
#: queries and scans instead.
INDEXES = {
    "tenants": [
        IndexModel([("email", ASCENDING)], unique=True),
        IndexModel([("ending.at", ASCENDING)], sparse=True),
        IndexModel([("recount", ASCENDING)], sparse=True),
    ],
    "users": [
        IndexModel([("tenant", ASCENDING), ("login", ASCENDING)], unique=True),
        IndexModel([("ending.at", ASCENDING)], sparse=True),
        _unfinished_by_tenant("ending.at"),
        IndexModel([("split_point", ASCENDING)], sparse=True),
        # Operators only, of which an installation has a few.
        IndexModel([("operator_permissions", ASCENDING)], sparse=True),
        # For searches across tenants. An update of the last activity, by far the most frequent, changes neither.
        IndexModel([("login", ASCENDING), ("_id", ASCENDING)]),
        IndexModel([("email", ASCENDING), ("_id", ASCENDING)]),
    ],
    "deletions": [
        # By idempotency key, which is in one or two documents. A login that is created and deleted
        # repeatedly has many.
        IndexModel([("marks.by", ASCENDING)]),
        IndexModel([("at", ASCENDING)], expireAfterSeconds=int(IDEMPOTENCY_WINDOW.total_seconds())),
    ],
    "attempts": [IndexModel([("kept_until", ASCENDING)], expireAfterSeconds=0)],
    "audit": [
        IndexModel([("expires_at", ASCENDING)], expireAfterSeconds=0),
        # One index per filter, so that a page reads only the records that it returns.
        IndexModel([("tenant", ASCENDING), ("position", DESCENDING)]),
        IndexModel([("tenant", ASCENDING), ("login", ASCENDING), ("position", DESCENDING)]),
        IndexModel([("tenant", ASCENDING), ("type", ASCENDING), ("position", DESCENDING)]),
    ],
    "sweep_leases": [IndexModel([("until", ASCENDING)], expireAfterSeconds=0)],
    "refusals": [IndexModel([("expires_at", ASCENDING)], expireAfterSeconds=0)],
    "sessions": [
        IndexModel([("expires_at", ASCENDING)], expireAfterSeconds=SESSION_KEPT_SECONDS),
        # No unique index, with which a collection cannot be sharded by the hash of `_id`.
        IndexModel([("tenant", ASCENDING), ("user", ASCENDING)]),
        # With `_id`, the order of lists and of the session limit, so that a query stops at its limit.
        IndexModel([("user", ASCENDING), ("issued_at", DESCENDING), ("_id", DESCENDING)]),
        # API keys only.
        IndexModel(
            [("tenant", ASCENDING), ("issued_at", DESCENDING), ("_id", DESCENDING)],
            partialFilterExpression={"key": {"$exists": True}},
        ),
        IndexModel([("displaces", ASCENDING)], sparse=True),
        _unfinished_by_tenant("displaces"),
        IndexModel([("outbox", ASCENDING)], sparse=True),
        _unfinished_by_tenant("outbox"),
        IndexModel(
            [("tenant", ASCENDING), ("revocation.announced_at", ASCENDING), ("_id", ASCENDING)],
            partialFilterExpression={"revocation.announced_at": {"$exists": True}},
        ),
    ],
}


def conflict(wanted: IndexModel, existing: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the name of the existing index that prevents the creation of this one.

    It has this name and another definition, or it is the same index to MongoDB: names and times of
    expiry do not distinguish indexes.
    """
    expected = _identity(wanted.document, wanted.document["key"].items())
    expiry = wanted.document.get("expireAfterSeconds")
    for name, found in existing.items():
        is_same = _identity(found, found["key"]) == expected
        if name == wanted.document["name"]:
            return None if is_same and found.get("expireAfterSeconds") == expiry else name
        if is_same:
            return name
    return None


def _identity(options: Mapping[str, Any], key: Iterable[Any]) -> tuple[object, ...]:
    """Return what makes it another index to MongoDB ("Index Signature" in SERVER-47657)."""
    partial = options.get("partialFilterExpression")
    return list(key), bool(options.get("unique")), bool(options.get("sparse")), partial
