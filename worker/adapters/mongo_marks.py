"""Marks of requests: in the documents of the users that they changed, and for a while in place of deleted users."""

from typing import Any

from pymongo.errors import DuplicateKeyError

from worker.adapters.mongo_database import Document, MongoDatabase
from worker.domain.records import MARKS_KEPT, Mark


def marked(mark: Mark) -> Document:
    """Matches documents that the request has changed."""
    return {"marks": {"$elemMatch": _fresh(mark)}}


def not_marked(mark: Mark) -> Document:
    """Matches documents that the request has not changed."""
    return {"marks": {"$not": {"$elemMatch": _fresh(mark)}}}


def first(mark: Mark) -> list[Document]:
    """The marks of a new document."""
    return [_to_document(mark)]


def left(mark: Mark, **decided: Any) -> Document:
    """The part of an update that leaves the mark, with what the request decided."""
    return {"$push": {"marks": {"$each": [{**_to_document(mark), **decided}], "$slice": -MARKS_KEPT}}}


def found(document: Document, mark: Mark) -> Document | None:
    """The mark as the request has left it in the document, if it has."""
    marks: list[Document] = document.get("marks", [])
    return next((each for each in marks if each["by"] == mark.by and each["at"] > mark.forgotten_at), None)


class Deletions:
    """Marks that users and tenants carried when they were removed. What else was known of them goes with them."""

    def __init__(self, database: MongoDatabase) -> None:
        self._deletions = database.collection("deletions")

    async def find(self, tenant: str | None, login: str, mark: Mark) -> Document | None:
        """The deletion of a user of this login that the request had changed, or deleted; without a tenant, that of a
        tenant of this email."""
        return await self._deletions.find_one({"marks.by": mark.by, "tenant": tenant, "login": login, **marked(mark)})

    async def find_by_id(self, removed: str, mark: Mark) -> Document | None:
        """The same by the id that it had."""
        return await self._deletions.find_one({"_id": removed, **marked(mark)})

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


def _to_document(mark: Mark) -> Document:
    return {"by": mark.by, "at": mark.at}


def _fresh(mark: Mark) -> Document:
    return {"by": mark.by, "at": {"$gt": mark.forgotten_at}}
