"""Users in MongoDB, with the decisions to end their sessions stored beside them."""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError

from shared.contracts.errors import LoginTaken, Unavailable, UserNotFound
from shared.contracts.events import RevocationReason
from worker.adapters.mongo_database import Document, MongoDatabase, readable, unavailable_when_away
from worker.ports import Ending, User, UserChanges

#: Decisions about one user at the same moment take turns; so many in a row mean something else is wrong.
MAX_ATTEMPTS = 20
_NOT_DELETED = {"deleted_at": {"$exists": False}}


class MongoUsers:
    """Implements `worker.ports.Users`."""

    def __init__(self, database: MongoDatabase) -> None:
        self._users = database.collection("users")

    async def add(self, user: User) -> None:
        with unavailable_when_away():
            try:
                await self._users.insert_one(_to_document(user))
            except DuplicateKeyError:
                raise LoginTaken from None

    async def find(self, tenant: str, login: str) -> User | None:
        with unavailable_when_away():
            document = await self._users.find_one({"tenant": tenant, "login": login, **_NOT_DELETED})
        return _from_document(document) if document else None

    async def is_current(self, user: User) -> bool:
        with unavailable_when_away():
            found = await self._users.find_one(
                {"_id": user.id, "generation": user.generation, **_NOT_DELETED}, projection=["_id"]
            )
        return found is not None

    async def page(self, tenant: str, search: str, after: str, limit: int) -> Sequence[User]:
        wanted: Document = {"tenant": tenant, "login": {"$gt": after}, **_NOT_DELETED}
        if search:
            wanted["search"] = {"$regex": re.escape(search.casefold())}
        with unavailable_when_away():
            documents = await self._users.find(wanted).sort("login", ASCENDING).limit(limit).to_list(limit)
        return readable(documents, _from_document)

    async def change(self, user: User, changes: UserChanges) -> None:
        written = _changed(user, changes)
        with unavailable_when_away():
            result = await self._users.update_one({"_id": user.id, **_NOT_DELETED}, {"$set": written})
        if not result.matched_count:
            raise UserNotFound

    async def replace_hash(self, user: User, password_hash: str) -> None:
        with unavailable_when_away():
            await self._users.update_one(
                {"_id": user.id, "password_hash": user.password_hash}, {"$set": {"password_hash": password_hash}}
            )

    async def decide_ending(
        self, user: User, reason: RevocationReason, now: datetime, changes: UserChanges | None = None
    ) -> Ending:
        written = _changed(user, changes or UserChanges())
        if reason is RevocationReason.USER_DELETED:
            written["deleted_at"] = now
        generation = user.generation
        for _ in range(MAX_ATTEMPTS):
            ending = Ending(user.tenant, user.id, generation + 1, reason)
            with unavailable_when_away():
                # On the generation it was decided for: two decisions at once must not share one.
                result = await self._users.update_one(
                    {"_id": user.id, "generation": generation, **_NOT_DELETED},
                    {
                        "$set": {
                            **written,
                            "generation": ending.generation,
                            "ending": {"generation": ending.generation, "reason": reason.value, "at": now},
                        }
                    },
                )
                if result.matched_count:
                    return ending
                found = await self._users.find_one({"_id": user.id, **_NOT_DELETED}, projection=["generation"])
            if found is None:
                raise UserNotFound
            generation = found["generation"]
        raise Unavailable

    async def finish_ending(self, ending: Ending) -> None:
        decided = {"_id": ending.user, "ending.generation": ending.generation}
        with unavailable_when_away():
            if ending.reason is RevocationReason.USER_DELETED:
                await self._users.delete_one(decided)
            else:
                await self._users.update_one(decided, {"$unset": {"ending": ""}})

    async def unfinished_endings(self, older_than: datetime, limit: int) -> Sequence[Ending]:
        with unavailable_when_away():
            documents = await self._users.find({"ending.at": {"$lt": older_than}}).limit(limit).to_list(limit)
        return readable(documents, _to_ending)


def _changed(user: User, changes: UserChanges) -> Document:
    written: Document = dict(changes.fields)
    if "scope" in written:
        written["scope"] = _scope_to_text(written["scope"])
    if "email" in written:
        written["search"] = _search_text(user.login, written["email"])
    if changes.password_hash is not None:
        written["password_hash"] = changes.password_hash
    return written


def _to_document(user: User) -> Document:
    return {
        "_id": user.id,
        "tenant": user.tenant,
        "login": user.login,
        "email": user.email,
        "search": _search_text(user.login, user.email),
        "sub": user.sub,
        "scope": _scope_to_text(user.scope),
        "password_hash": user.password_hash,
        "registered_at": user.registered_at,
        "last_active_at": user.last_active_at,
        "created_by": user.created_by,
        "generation": user.generation,
    }


def _from_document(document: Document) -> User:
    return User(
        id=document["_id"],
        tenant=document["tenant"],
        login=document["login"],
        email=document["email"],
        sub=document["sub"],
        scope=json.loads(document["scope"]),
        password_hash=document["password_hash"],
        registered_at=document["registered_at"],
        last_active_at=document["last_active_at"],
        created_by=document["created_by"],
        generation=document["generation"],
    )


def _to_ending(document: Document) -> Ending:
    return Ending(
        tenant=document["tenant"],
        user=document["_id"],
        generation=document["ending"]["generation"],
        reason=RevocationReason(document["ending"]["reason"]),
    )


def _scope_to_text(scope: Any) -> str:
    # As text: JSON has objects that BSON refuses (empty or NUL keys, integers beyond 64 bits), and nobody queries it.
    return json.dumps(scope)


def _search_text(login: str, email: str) -> str:
    return f"{login}\n{email}".casefold()
