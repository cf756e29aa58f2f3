"""Users in MongoDB. Their documents also contain revocation decisions and idempotency keys."""

import functools
import json
import re
import zlib
from collections.abc import AsyncIterator, Collection, Sequence, Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from typing import Any

import pymongo
from pymongo import ASCENDING
from pymongo.errors import BulkWriteError, DuplicateKeyError

from shared.contracts import names
from shared.contracts.errors import LoginTaken, Unavailable, UserNotFound
from shared.contracts.events import RevocationReason
from shared.contracts.permissions import OPERATOR_PERMISSIONS, Permission, known_permissions
from worker.adapters import mongo_durability, mongo_idempotency
from worker.adapters.mongo_database import (
    MAX_DECISION_ROUNDS,
    MAX_PAGE_SECONDS,
    NOT_DELETED,
    Document,
    MongoDatabase,
    refused_as_duplicates,
    unavailable_when_away,
)
from worker.adapters.mongo_failures import repeated
from worker.adapters.mongo_idempotency import Deletions
from worker.adapters.mongo_queries import counted_in_steps, first_found, first_readable, readable, tenants_with
from worker.domain.records import IdempotencyKey, StoredUser, UserChanges, UserRevocation

#: Users removed per step, so that a step takes the database less time than a worker waits for it.
BATCH = 200
#: One of this many users is a split point. The embedded database reads every user in a range of
#: logins, and every split point of the tenant beyond it: with 100,000 users, about 500 and 200.
SPLIT_POINT_EVERY = 512


class MongoUsers:
    """Implements the port `Users`."""

    def __init__(self, database: MongoDatabase, max_page_seconds: float = MAX_PAGE_SECONDS) -> None:
        self._users = database.collection("users")
        self._committed = mongo_durability.committed(self._users)
        self._max_page_seconds = max_page_seconds
        self._deletions = Deletions(database)

    async def add(self, user: StoredUser) -> StoredUser:
        key = _creation(user)
        with unavailable_when_away():
            if await self._deletions.find(user.tenant, user.login, key):
                raise LoginTaken
            try:
                await mongo_durability.insert(self._users, _to_document(user), ("tenant", "login"))
            except DuplicateKeyError:
                first = await self._undeleted(user.tenant, user.login)
                if first is None or not mongo_idempotency.find_result(first, key):
                    raise LoginTaken from None
                return _from_document(first)
        return user

    async def add_new(self, users: Sequence[StoredUser]) -> AbstractSet[str]:
        refused: Sequence[int] = ()
        with unavailable_when_away():
            try:
                await self._users.insert_many([_to_document(user) for user in users], ordered=False)
            except BulkWriteError as error:
                refused = refused_as_duplicates(error)
        return {users[position].id for position in refused}

    async def find(self, tenant: str, login: str) -> StoredUser | None:
        with unavailable_when_away():
            document = await self._undeleted(tenant, login)
        return _from_document(document) if document else None

    async def spelling(self, tenant: str, login: str, key: IdempotencyKey | None = None) -> str:
        normal = names.nfc(login)
        if normal == login or await self.spelled(tenant, [login]):
            return login
        with unavailable_when_away():
            # The users are read first: a deletion is stored before the user's document is removed.
            deletion = await self._deletions.find(tenant, login, key) if key else None
        return login if deletion else normal

    async def spelled(self, tenant: str, logins: Collection[str]) -> AbstractSet[str]:
        if not logins:  # a limit of 0 would mean none
            return frozenset()
        wanted: Document = {"tenant": tenant, "login": {"$in": list(logins)}}
        with unavailable_when_away():
            documents = await first_found(self._users.find(wanted, ["login"]), len(logins))
        return {document["login"] for document in documents}

    async def is_current(self, user: StoredUser) -> bool:
        with unavailable_when_away():
            found = await self._users.find_one(
                {**_one(user.id, user.tenant, user.login), "generation": user.generation, **NOT_DELETED},
                projection=["_id"],
            )
        return found is not None

    async def page(self, tenant: str, search: str, after: str, limit: int) -> Sequence[StoredUser]:
        users: list[StoredUser] = []
        with unavailable_when_away(), pymongo.timeout(self._max_page_seconds):
            if search:
                return await self._matching(tenant, search, {"$gt": after}, limit)
            async for logins in self._ranges(tenant, after):
                users += await self._matching(tenant, search, logins, limit - len(users))
                if len(users) == limit:
                    break
        return users

    async def named(self, names: Collection[str], after: str, limit: int) -> Sequence[StoredUser]:
        found: dict[str, StoredUser] = {}
        with unavailable_when_away(), pymongo.timeout(self._max_page_seconds):
            for field in ("login", "email"):
                for name in names:  # not `$in`, so that each query is one range of an index
                    query = self._users.find({field: name, "_id": {"$gt": after}}).sort("_id", ASCENDING)
                    users = await first_readable(query, _from_document, limit, lambda user: "deleted_at" not in user)
                    found |= {user.id: user for user in users}
        return [found[user_id] for user_id in sorted(found)[:limit]]

    async def tenants_of(self, logins: Collection[str], limit: int) -> AbstractSet[str]:
        found: set[str] = set()
        with unavailable_when_away():
            for login in logins:
                documents = await first_found(self._users.find({"login": login}, ["tenant"]), limit)
                found |= {document["tenant"] for document in documents}
        return set(sorted(found)[:limit])

    async def count(self, tenant: str, limit: int | None) -> int:
        if limit is None:
            return await counted_in_steps(self._users, tenant, "login", {})
        with unavailable_when_away():
            return await self._users.count_documents({"tenant": tenant}, limit=limit)

    async def logins(self, tenant: str, after: str, limit: int) -> Sequence[str]:
        found: list[str] = []
        with unavailable_when_away(), pymongo.timeout(self._max_page_seconds):
            async for logins in self._ranges(tenant, after):
                # Only this field is read, so that the index answers the query without the documents.
                query = self._users.find({"tenant": tenant, "login": logins}, {"_id": False, "login": True})
                documents = await first_found(query.sort("login", ASCENDING), limit - len(found))
                found += [document["login"] for document in documents]
                if len(found) == limit:
                    break
        return found

    async def change(self, tenant: str, login: str, changes: UserChanges, key: IdempotencyKey) -> StoredUser:
        written = _changed(login, changes)
        with unavailable_when_away():
            document = await self._undeleted(tenant, login)
            # The user is read first: a deletion is stored before another user can get the login.
            if document is None or await self._deletions.find(tenant, login, key):
                raise UserNotFound
            found = {**_one(document["_id"], tenant, login), **NOT_DELETED}
            result = await self._users.update_one(
                {**found, **mongo_idempotency.not_applied(key)},
                {"$set": written, **mongo_idempotency.recorded(key)},
            )
            if result.matched_count:
                return _from_document({**document, **written})
            document = await self._users.find_one(found)
        if document is None:
            raise UserNotFound
        return _from_document(document)

    async def operators(
        self, tenant: str | None, limit: int, permission: Permission | None = None
    ) -> Sequence[StoredUser]:
        # Each permission is a key of the index, so any of them is found by a list of all.
        wanted: Document = {"operator_permissions": permission or {"$in": sorted(OPERATOR_PERMISSIONS)}}
        if tenant is not None:
            wanted["tenant"] = tenant
        with unavailable_when_away():
            found = self._users.find(wanted).sort("login", ASCENDING)
            return await first_readable(found, _from_document, limit, lambda user: "deleted_at" not in user)

    async def replace_operator_permissions(
        self, user: StoredUser, permissions: AbstractSet[Permission], key: IdempotencyKey
    ) -> StoredUser | None:
        before = sorted(user.operator_permissions)
        with unavailable_when_away():
            result = await self._users.update_one(
                {
                    **_one(user.id, user.tenant, user.login),
                    "operator_permissions": before or {"$exists": False},
                    **NOT_DELETED,
                    **mongo_idempotency.not_applied(key),
                },
                {**_with_permissions(permissions), **mongo_idempotency.recorded(key)},
            )
            if result.matched_count:
                return replace(user, operator_permissions=frozenset(permissions))
            document = await self._users.find_one({**_one(user.id, user.tenant, user.login), **NOT_DELETED})
        applied = document is not None and mongo_idempotency.find_result(document, key)
        return _from_document(document) if document and applied else None

    async def replace_hash(self, user: StoredUser, password_hash: str) -> None:
        with unavailable_when_away():
            await self._users.update_one(
                {**_one(user.id, user.tenant, user.login), "password_hash": user.password_hash},
                {"$set": {"password_hash": password_hash}},
            )

    async def decide_revocation(
        self, tenant: str, login: str, reason: RevocationReason, key: IdempotencyKey, changes: UserChanges | None = None
    ) -> UserRevocation:
        written = _changed(login, changes or UserChanges())
        if reason is RevocationReason.USER_DELETED:
            written["deleted_at"] = key.at
        for _ in range(MAX_DECISION_ROUNDS):
            with unavailable_when_away():
                document = await self._users.find_one({"tenant": tenant, "login": login})
                # The user is read first: its deletion is stored before its document is removed.
                deletion = await self._deletions.find(tenant, login, key)
                for known in filter(None, (document, deletion)):
                    if before := mongo_idempotency.find_result(known, key):
                        return UserRevocation(tenant, login, known["_id"], before["generation"], reason)
                if document is None or "deleted_at" in document:
                    raise UserNotFound
                decision = UserRevocation(tenant, login, document["_id"], document["generation"] + 1, reason)
                # Only if the generation is unchanged: two concurrent decisions must not get the
                # same one.
                result = await self._users.update_one(
                    {**_one(decision.user, tenant, login), "generation": document["generation"], **NOT_DELETED},
                    {
                        "$set": {
                            **written,
                            "generation": decision.generation,
                            "ending": {"generation": decision.generation, "reason": reason.value, "at": key.at},
                        },
                        **mongo_idempotency.recorded(key, generation=decision.generation),
                    },
                )
            if result.matched_count:
                return decision
        raise Unavailable

    async def finish_revocation(self, decision: UserRevocation) -> None:
        decided = {**_one(decision.user, decision.tenant, decision.login), "ending.generation": decision.generation}
        with unavailable_when_away():
            if decision.reason is not RevocationReason.USER_DELETED:
                await self._users.update_one(decided, {"$unset": {"ending": ""}})
                return
            if document := await self._users.find_one(decided):
                await self._deletions.add(document)
            # If another worker removed it, this waits until the removal is durable.
            await self._users.delete_one(decided)

    async def tenants_with_unfinished_revocations(self, older_than: datetime) -> Sequence[str]:
        return await tenants_with(self._committed, "ending.at", older_than)

    async def unfinished_revocations(self, tenant: str, older_than: datetime, limit: int) -> Sequence[UserRevocation]:
        with unavailable_when_away():
            found = self._committed.find({"tenant": tenant, "ending.at": {"$lt": older_than}})
            documents = await first_found(found.sort("ending.at", ASCENDING), limit)
        return readable(documents, _to_decision)

    async def remove_all(self, tenant: str) -> None:
        while True:
            with unavailable_when_away():  # a time limit for each batch: there may be thousands
                found = await first_found(self._users.find({"tenant": tenant}, ["login"]), BATCH)
                removed: Document = {"tenant": tenant}
                if found:
                    removed["login"] = {"$in": [document["login"] for document in found]}
                await repeated(functools.partial(self._users.delete_many, removed))
                if not found:  # the last removal has waited until those of other workers are durable
                    return

    async def _matching(self, tenant: str, search: str, logins: Document, limit: int) -> list[StoredUser]:
        """Return the first users with a login in this range."""
        wanted: Document = {"tenant": tenant, "login": logins}
        if search:
            # As given, or in the form in which logins are stored.
            spellings = {spelling.casefold() for spelling in (search, names.nfc(search))}
            wanted["search"] = {"$regex": "|".join(sorted(map(re.escape, spellings)))}
        # Deleted users are left out here: see `_undeleted`.
        found = self._users.find(wanted).sort("login", ASCENDING)
        return await first_readable(found, _from_document, limit, lambda user: "deleted_at" not in user)

    async def _ranges(self, tenant: str, after: str) -> AsyncIterator[Document]:
        """Yield all logins greater than `after` as ranges in order, each up to a split point, the last one open.

        MongoDB stops reading at a query's limit. The embedded database reads the whole range first,
        so a range must not contain all users of a tenant. Split points only bound the work: users of
        older workers are none, and a tenant without any has one range.
        """
        while True:
            wanted = {
                # This field comes first: the embedded database uses the index of the first field in a filter.
                "split_point": {"$gt": _split_point(tenant, after), "$lt": _after_split_points(tenant)},
                "tenant": tenant,
            }
            documents = await first_found(self._users.find(wanted, ["login"]).sort("split_point", ASCENDING), 1)
            if not documents:
                yield {"$gt": after}
                return
            last = documents[0]["login"]
            yield {"$gt": after, "$lte": last}
            after = last

    async def _undeleted(self, tenant: str, login: str) -> Document | None:
        # `deleted_at` is checked here and not in the filter: with more than the key in it, the
        # embedded database scans all users of the tenant.
        document = await self._users.find_one({"tenant": tenant, "login": login})
        return document if document and "deleted_at" not in document else None


def _one(user: str, tenant: str, login: str) -> Document:
    """Return a filter for one user: by its id, and by the key by which the collection may be sharded."""
    # `_id` comes first: the embedded database uses the index of the first field in a filter.
    return {"_id": user, "tenant": tenant, "login": login}


def _creation(user: StoredUser) -> IdempotencyKey:
    return IdempotencyKey(user.idempotency_key, user.registered_at)


def _changed(login: str, changes: UserChanges) -> Document:
    written: Document = dict(changes.fields)
    if "scope" in written:
        written["scope"] = _scope_to_text(written["scope"])
    if "email" in written:
        written["search"] = _search_text(login, written["email"])
    if changes.password_hash is not None:
        written["password_hash"] = changes.password_hash
    return written


def _with_permissions(permissions: AbstractSet[Permission]) -> Document:
    """Return the part of an update that stores operator permissions. Users without any are not in the index."""
    if not permissions:
        return {"$unset": {"operator_permissions": ""}}
    return {"$set": {"operator_permissions": sorted(permissions)}}


def _to_document(user: StoredUser) -> Document:
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
        "created_by": user.idempotency_key,
        "generation": user.generation,
        "marks": mongo_idempotency.initial_keys(_creation(user)),
        **({"operator_permissions": sorted(user.operator_permissions)} if user.operator_permissions else {}),
        **({"split_point": _split_point(user.tenant, user.login)} if _is_split_point(user) else {}),
    }


def _from_document(document: Document) -> StoredUser:
    return StoredUser(
        id=document["_id"],
        tenant=document["tenant"],
        login=document["login"],
        email=document["email"],
        sub=document["sub"],
        scope=json.loads(document["scope"]),
        password_hash=document["password_hash"],
        registered_at=document["registered_at"],
        last_active_at=document["last_active_at"],
        idempotency_key=document["created_by"],
        generation=document["generation"],
        operator_permissions=known_permissions(document.get("operator_permissions", ())),
    )


def _to_decision(document: Document) -> UserRevocation:
    return UserRevocation(
        tenant=document["tenant"],
        login=document["login"],
        user=document["_id"],
        generation=document["ending"]["generation"],
        reason=RevocationReason(document["ending"]["reason"]),
    )


def _scope_to_text(scope: Any) -> str:
    # Stored as text: BSON refuses some JSON (empty or NUL keys, integers beyond 64 bits), and
    # scopes are never queried.
    return json.dumps(scope)


def _is_split_point(user: StoredUser) -> bool:
    return zlib.crc32(user.id.encode()) % SPLIT_POINT_EVERY == 0


def _split_point(tenant: str, login: str) -> str:
    """Return the key that sorts split points by tenant and login, whatever characters a login has."""
    return f"{tenant} {login}"


def _after_split_points(tenant: str) -> str:
    """Return a bound above all split points of a tenant: `!` is the next character after the space."""
    return f"{tenant}!"


def _search_text(login: str, email: str) -> str:
    return f"{login}\n{email}".casefold()
