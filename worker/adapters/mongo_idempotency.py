"""Stored idempotency keys: in the documents that requests changed, and for a while in place of deleted documents.

The stored fields are named `marks` and `by`. The names cannot change, since older workers read
them.
"""

from typing import Any

from worker.adapters import mongo_durability
from worker.adapters.mongo_database import Document, MongoDatabase
from worker.domain.records import MAX_IDEMPOTENCY_KEYS, IdempotencyKey


def applied(key: IdempotencyKey) -> Document:
    """Return a filter for documents that the request has changed."""
    return {"marks": {"$elemMatch": _valid(key)}}


def not_applied(key: IdempotencyKey) -> Document:
    """Return a filter for documents that the request has not changed."""
    return {"marks": {"$not": {"$elemMatch": _valid(key)}}}


def initial_keys(key: IdempotencyKey) -> list[Document]:
    """Return the stored keys of a new document: that of the request which created it."""
    return [_to_document(key)]


def recorded(key: IdempotencyKey, **result: Any) -> Document:
    """Return the part of an update that stores the key, together with the result of the request."""
    return {"$push": {"marks": {"$each": [{**_to_document(key), **result}], "$slice": -MAX_IDEMPOTENCY_KEYS}}}


def find_result(document: Document, key: IdempotencyKey) -> Document | None:
    """Return the stored key with the request's result, or None if the request has not changed the document."""
    keys: list[Document] = document.get("marks", [])
    return next((each for each in keys if each["by"] == key.value and each["at"] > key.valid_after), None)


class Deletions:
    """The idempotency keys of deleted users and tenants, stored with their id, tenant and login only."""

    def __init__(self, database: MongoDatabase) -> None:
        self._deletions = database.collection("deletions")

    async def find(self, tenant: str | None, login: str, key: IdempotencyKey) -> Document | None:
        """Return the deletion of a user with this login that the request had changed or deleted.

        With `tenant=None`, the deletion of a tenant whose email is `login`.
        """
        return await self._deletions.find_one({"marks.by": key.value, "tenant": tenant, "login": login, **applied(key)})

    async def find_by_id(self, removed: str, key: IdempotencyKey) -> Document | None:
        """Return the deletion of the user or tenant with this id that the request had changed or deleted."""
        return await self._deletions.find_one({"_id": removed, **applied(key)})

    async def add(self, user: Document) -> None:
        """Store the deletion of a user before its document is removed, so that no moment is without it. Idempotent."""
        # If it is there, another worker carries out the same deletion.
        await mongo_durability.insert_only(
            self._deletions,
            {
                "_id": user["_id"],
                "tenant": user["tenant"],
                "login": user["login"],
                "marks": user.get("marks", []),
                "at": user["ending"]["at"],
            },
        )


def _to_document(key: IdempotencyKey) -> Document:
    return {"by": key.value, "at": key.at}


def _valid(key: IdempotencyKey) -> Document:
    return {"by": key.value, "at": {"$gt": key.valid_after}}
