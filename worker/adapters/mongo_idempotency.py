"""Marks of requests: in the documents of the users that they changed, and for a while in place of deleted users."""

from typing import Any

from pymongo.errors import DuplicateKeyError

from worker.adapters.mongo_database import Document, MongoDatabase
from worker.domain.records import MAX_IDEMPOTENCY_KEYS, IdempotencyKey


def marked(key: IdempotencyKey) -> Document:
    """Matches documents that the request has changed."""
    return {"marks": {"$elemMatch": _fresh(key)}}


def not_marked(key: IdempotencyKey) -> Document:
    """Matches documents that the request has not changed."""
    return {"marks": {"$not": {"$elemMatch": _fresh(key)}}}


def first(key: IdempotencyKey) -> list[Document]:
    """The marks of a new document."""
    return [_to_document(key)]


def left(key: IdempotencyKey, **decided: Any) -> Document:
    """The part of an update that leaves the mark, with what the request decided."""
    return {"$push": {"marks": {"$each": [{**_to_document(key), **decided}], "$slice": -MAX_IDEMPOTENCY_KEYS}}}


def found(document: Document, key: IdempotencyKey) -> Document | None:
    """The mark as the request has left it in the document, if it has."""
    marks: list[Document] = document.get("marks", [])
    return next((each for each in marks if each["by"] == key.value and each["at"] > key.valid_after), None)


class Deletions:
    """Marks that users and tenants carried when they were removed. What else was known of them goes with them."""

    def __init__(self, database: MongoDatabase) -> None:
        self._deletions = database.collection("deletions")

    async def find(self, tenant: str | None, login: str, key: IdempotencyKey) -> Document | None:
        """The deletion of a user of this login that the request had changed, or deleted; without a tenant, that of a
        tenant of this email."""
        return await self._deletions.find_one({"marks.by": key.value, "tenant": tenant, "login": login, **marked(key)})

    async def find_by_id(self, removed: str, key: IdempotencyKey) -> Document | None:
        """The same by the id that it had."""
        return await self._deletions.find_one({"_id": removed, **marked(key)})

    async def add(self, user: Document) -> None:
        """Remembers a user that is to be removed next: whoever finds it removed finds this. Safe to repeat."""
        try:
            await self._deletions.insert_one(
                {
                    "_id": user["_id"],
                    "tenant": user["tenant"],
                    "login": user["login"],
                    "marks": user.get("marks", []),
                    "at": user["ending"]["at"],
                }
            )
        except DuplicateKeyError:
            return  # somebody else carries the deletion out as well


def _to_document(key: IdempotencyKey) -> Document:
    return {"by": key.value, "at": key.at}


def _fresh(key: IdempotencyKey) -> Document:
    return {"by": key.value, "at": {"$gt": key.valid_after}}
