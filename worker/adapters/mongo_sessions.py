"""Sessions in MongoDB. Each document is also its own outbox: the field `outbox` is set until the event is published.

Its value is the time from which the event is due: the time of the revocation, or of the next retry
after a refusal.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from pymongo import ASCENDING, DESCENDING
from pymongo.errors import DuplicateKeyError

from shared.contracts.errors import Unavailable
from shared.contracts.events import RevocationReason
from shared.contracts.permissions import known_permissions
from worker.adapters import mongo_durability
from worker.adapters.lookups import Lookups
from worker.adapters.mongo_database import Document, MongoDatabase, unavailable_when_away
from worker.adapters.mongo_failures import NO_ANSWER_IN_TIME, repeated
from worker.adapters.mongo_queries import counted_in_steps, first_found, first_readable, readable, tenants_with
from worker.adapters.mongo_time import call_seconds
from worker.adapters.primary_lease import PrimaryLease, Server, server_of
from worker.domain.ports.sessions import COUNT_READS
from worker.domain.records import (
    KEY_KEPT,
    KeySecret,
    Revocation,
    StoredKey,
    StoredSession,
    StoredUser,
    TenantRevocation,
    UserRevocation,
)

#: Sessions revoked per step, so that a step takes the database less time than a worker waits for
#: it.
BATCH = 200
_NOT_REVOKED = {"revocation": {"$exists": False}}
_NEWEST_FIRST = [("issued_at", DESCENDING), ("_id", DESCENDING)]
_BY_ANNOUNCEMENT = [("revocation.announced_at", ASCENDING), ("_id", ASCENDING)]


class MongoSessions:
    """Implements the port `Sessions`."""

    def __init__(
        self,
        database: MongoDatabase,
        on_opened: Callable[[StoredSession], None] = lambda _: None,
        on_revoked: Callable[[RevocationReason, int], None] = lambda *_: None,
        lease: PrimaryLease | None = None,
    ) -> None:
        """`on_opened` and `on_revoked` are called for new sessions and revocations, and not for retried requests.

        `find` returns only what the lease covers. None: whatever the database answers.
        """
        self._sessions = database.collection("sessions")
        self._committed = mongo_durability.committed(self._sessions)
        self._lookups = Lookups(self._query)
        self._on_opened = on_opened
        self._on_revoked = on_revoked
        self._lease = lease

    async def add(self, session: StoredSession) -> StoredSession:
        with unavailable_when_away():
            try:
                await mongo_durability.insert(self._sessions, _to_document(session))
            except DuplicateKeyError:
                same = {"tenant": session.tenant, "user": session.user, "opened_by": session.idempotency_key}
                first = await self._sessions.find_one({"_id": session.id, **same})
                # A worker of the previous version opened it with another id: its unique index, which
                # an operator drops after the update, refused this one.
                first = first or await self._sessions.find_one(same)
                if first is None:  # removed since, or lost in an election
                    raise Unavailable from None
                return _from_document(first)
        self._on_opened(session)
        return session

    async def find(self, ids: Sequence[str]) -> dict[str, StoredSession]:
        try:
            # Not the driver's limit: lookups with other deadlines share the query, which has its own.
            async with asyncio.timeout(call_seconds()):
                return await self._lookups.find(ids)
        except TimeoutError:
            raise Unavailable(NO_ANSWER_IN_TIME) from None

    async def live_of_user(self, user: StoredUser, now: datetime, limit: int) -> Sequence[StoredSession]:
        wanted = {"user": user.id, "tenant": user.tenant, "generation": user.generation, "expires_at": {"$gt": now}}
        with unavailable_when_away():
            documents = await first_found(self._sessions.find({**wanted, **_NOT_REVOKED}).sort(_NEWEST_FIRST), limit)
        return readable(documents, _from_document)

    async def live_keys(self, tenant: str, now: datetime, limit: int) -> Sequence[StoredSession]:
        keys = {"tenant": tenant, "key": {"$exists": True}, "expires_at": {"$gt": now}}
        with unavailable_when_away():
            documents = await first_found(self._sessions.find({**keys, **_NOT_REVOKED}).sort(_NEWEST_FIRST), limit)
        return readable(documents, _from_document)

    async def replace_secrets(self, session: StoredSession, changed: StoredSession) -> bool:
        if session.key is None or changed.key is None:
            raise ValueError("the session is no API key")
        # Each change puts a new secret first, so the first one tells whether there was a change.
        unchanged = {"_id": session.id, "key.secrets.0.digest": session.key.secrets[0].digest, **_NOT_REVOKED}
        secrets = [_secret_document(secret) for secret in changed.key.secrets]
        with unavailable_when_away():
            result = await self._sessions.update_one(
                unchanged, {"$set": {"key.secrets": secrets, "expires_at": changed.expires_at}}
            )
        return bool(result.matched_count)

    async def revoke(self, session: StoredSession, revocation: Revocation) -> StoredSession | None:
        with unavailable_when_away():
            result = await self._sessions.update_one(
                {"_id": session.id, **_NOT_REVOKED}, _revoked(revocation, is_key=session.key is not None)
            )
        if not result.modified_count:
            return None
        self._on_revoked(revocation.reason, 1)
        return session.revoked(revocation)

    async def revoke_older(self, decision: UserRevocation, now: datetime, limit: int) -> Sequence[StoredSession]:
        of_user = {"user": decision.user, "tenant": decision.tenant}
        with unavailable_when_away():
            await self._revoke_many(
                {**of_user, "generation": {"$lt": decision.generation}, "expires_at": {"$gt": now}},
                Revocation(now, decision.reason),
            )
            documents = await first_found(self._committed.find({**of_user, "outbox": {"$lte": now}}), limit)
        return readable(documents, _from_document)

    async def revoke_of_tenant(self, decision: TenantRevocation, now: datetime, limit: int) -> Sequence[StoredSession]:
        of_tenant: Document = {"tenant": decision.tenant}
        live: Document = {"expires_at": {"$gt": now}, **_NOT_REVOKED}
        with unavailable_when_away():
            await self._revoke_many(
                {
                    **of_tenant,
                    "user": None,
                    "key": {"$exists": False},
                    "tenant_generation": {"$lt": decision.generation},
                    **live,
                },
                Revocation(now, decision.reason),
            )
        if decision.keys_before:
            keys: Document = {
                **of_tenant,
                "user": None,
                "key": {"$exists": True},
                "tenant_generation": {"$lt": decision.keys_before},
            }
            with unavailable_when_away():
                await self._revoke_many({**keys, **live}, Revocation(now, decision.keys_reason), are_keys=True)
        if decision.users_before:
            of_users = {**of_tenant, "user": {"$ne": None}, "tenant_generation": {"$lt": decision.users_before}}
            # The one query that takes further answers: one query for each batch would read the
            # revoked sessions again. If an answer fails, the sweep completes the decision.
            found = self._sessions.find({**of_users, **live}, ["_id"]).batch_size(BATCH)
            while True:
                with unavailable_when_away():  # a time limit for each batch: there may be thousands
                    ids = [document["_id"] for document in await found.to_list(BATCH)]
                    if not ids:
                        break
                    await self._revoke_many({"_id": {"$in": ids}}, Revocation(now, decision.users_reason))
        else:
            of_tenant["user"] = None
        with unavailable_when_away():
            documents = await first_found(self._committed.find({**of_tenant, "outbox": {"$lte": now}}), limit)
        return readable(documents, _from_document)

    async def count_of_users(self, tenant: str, now: datetime, limit: int | None) -> int | None:
        live: Document = {"expires_at": {"$gt": now}, **_NOT_REVOKED}
        if limit is None:
            return await counted_in_steps(self._sessions, tenant, "user", live)
        of_users: Document = {"tenant": tenant, "user": {"$gt": ""}}
        with unavailable_when_away():
            # The index counts these. Only the documents tell which sessions are live.
            if await self._sessions.count_documents(of_users, limit=COUNT_READS * limit) == COUNT_READS * limit:
                return None
            return await self._sessions.count_documents({**of_users, **live}, limit=limit)

    async def over_limit(self, session: StoredSession, kept: int, now: datetime, limit: int) -> Sequence[StoredSession]:
        wanted = {
            "user": session.user,
            "tenant": session.tenant,
            "generation": session.generation,
            "expires_at": {"$gt": now},
        }
        with unavailable_when_away():
            found = self._sessions.find({**wanted, **_NOT_REVOKED}).sort(_NEWEST_FIRST)
            documents = await first_found(found.skip(kept), limit)
        return readable(documents, _from_document)

    async def limit_enforced(self, session: StoredSession) -> None:
        with unavailable_when_away():
            await self._sessions.update_one({"_id": session.id}, {"$unset": {"displaces": ""}})

    async def tenants_enforcing_limit(self, older_than: datetime) -> Sequence[str]:
        return await tenants_with(self._committed, "displaces", older_than)

    async def enforcing_limit(self, tenant: str, older_than: datetime, limit: int) -> Sequence[StoredSession]:
        return await self._oldest({"tenant": tenant, "displaces": {"$lt": older_than}}, "displaces", limit)

    async def tenants_unannounced(self, older_than: datetime) -> Sequence[str]:
        return await tenants_with(self._committed, "outbox", older_than)

    async def unannounced(self, tenant: str, older_than: datetime, limit: int) -> Sequence[StoredSession]:
        return await self._oldest({"tenant": tenant, "outbox": {"$lt": older_than}}, "outbox", limit)

    async def unannounced_of(self, tenant: str, limit: int) -> Sequence[StoredSession]:
        unlisted = {"revocation.announced_at": {"$exists": False}}
        return await self._oldest({"tenant": tenant, "outbox": {"$exists": True}, **unlisted}, "outbox", limit)

    async def announced_after(self, tenant: str, at: datetime, session_id: str, limit: int) -> Sequence[StoredSession]:
        then = {"tenant": tenant, "revocation.announced_at": at, "_id": {"$gt": session_id}}
        later = {"tenant": tenant, "revocation.announced_at": {"$gt": at}}
        # Two queries, each a range of the index: planners may scan for an `$or` of both.
        found = await self._first_by_announcement(then, limit)
        return found if len(found) == limit else found + await self._first_by_announcement(later, limit - len(found))

    async def announced(self, session: StoredSession, at: datetime) -> None:
        with unavailable_when_away():
            await self._sessions.update_one(
                {"_id": session.id, "revocation": {"$exists": True}},
                {"$unset": {"outbox": ""}, "$set": {"revocation.announced_at": at}},
            )

    async def refused(self, session: StoredSession, at: datetime, retry_at: datetime | None) -> bool:
        seen = session.revocation.refusals if session.revocation else 0
        written: Document = {"revocation.refusals": seen + 1}
        if not seen:
            written["revocation.announced_at"] = at
        change: Document = {"$set": written}
        if retry_at is None:
            change["$unset"] = {"outbox": ""}
        else:
            written["outbox"] = retry_at
        with unavailable_when_away():
            # The field is absent before the first refusal, and in sessions that older versions
            # revoked.
            counted = {"revocation.refusals": seen or {"$exists": False}}
            result = await self._sessions.update_one(
                {"_id": session.id, "outbox": {"$exists": True}, **counted}, change
            )
        return bool(result.modified_count)

    async def _revoke_many(self, wanted: Document, revocation: Revocation, *, are_keys: bool = False) -> None:
        """Revoke the sessions that match and are not revoked yet, durably."""
        revoked = _revoked(revocation, is_key=are_keys)
        result = await repeated(lambda: self._sessions.update_many({**wanted, **_NOT_REVOKED}, revoked))
        self._on_revoked(revocation.reason, result.modified_count)

    async def _oldest(self, wanted: Document, field: str, limit: int) -> Sequence[StoredSession]:
        with unavailable_when_away():
            documents = await first_found(self._committed.find(wanted).sort(field, ASCENDING), limit)
        return readable(documents, _from_document)

    async def _query(self, ids: Sequence[str]) -> dict[str, StoredSession]:
        async def query() -> tuple[list[Document], Server | None]:
            cursor = self._sessions.find({"_id": {"$in": ids}})
            return await first_found(cursor, len(ids)), server_of(cursor)

        with unavailable_when_away():
            documents = await self._lease.covered(query) if self._lease else (await query())[0]
        return {session.id: session for session in readable(documents, _from_document)}

    async def _first_by_announcement(self, wanted: Document, limit: int) -> list[StoredSession]:
        with unavailable_when_away():
            found = self._committed.find(wanted).sort(_BY_ANNOUNCEMENT)
            return await first_readable(found, _from_document, limit)


def _revoked(revocation: Revocation, *, is_key: bool) -> Document:
    """Return an update that stores the revocation and puts its event into the outbox."""
    stored: Document = {"at": revocation.at, "reason": revocation.reason.value}
    if revocation.idempotency_key is not None:
        stored["by"] = revocation.idempotency_key
    update: Document = {"$set": {"revocation": stored, "outbox": revocation.at}}
    return {**update, "$min": {"expires_at": revocation.at + KEY_KEPT}} if is_key else update


def _to_document(session: StoredSession) -> Document:
    return {
        "_id": session.id,
        "secret": session.secret,
        "master_key_id": session.master_key_id,
        "tenant": session.tenant,
        "user": session.user,
        "login": session.login,
        "device_id": session.device_id,
        "issued_at": session.issued_at,
        "expires_at": session.expires_at,
        "opened_by": session.idempotency_key,
        "generation": session.generation,
        "tenant_generation": session.tenant_generation,
        # Like `outbox`, set only while work is left, so that a sparse index finds it.
        **({"displaces": session.issued_at} if session.enforces_limit else {}),
        # Absent in all other sessions, so that indexes of these fields are small.
        **({"key": _key_document(session.key)} if session.key else {}),
        **({"operator": True} if session.is_operator else {}),
    }


def _from_document(document: Document) -> StoredSession:
    return StoredSession(
        id=document["_id"],
        secret=bytes(document["secret"]),
        master_key_id=document["master_key_id"],
        tenant=document["tenant"],
        user=document["user"],
        login=document["login"],
        device_id=document["device_id"],
        issued_at=document["issued_at"],
        expires_at=document["expires_at"],
        idempotency_key=document["opened_by"],
        generation=document["generation"],
        tenant_generation=document["tenant_generation"],
        enforces_limit="displaces" in document,
        revocation=_revocation(document.get("revocation")),
        key=_key(document.get("key")),
        is_operator="operator" in document,
    )


def _revocation(stored: dict[str, Any] | None) -> Revocation | None:
    if stored is None:
        return None
    return Revocation(
        at=stored["at"],
        reason=RevocationReason(stored["reason"]),
        announced_at=stored.get("announced_at"),
        idempotency_key=stored.get("by"),
        refusals=stored.get("refusals", 0),
    )


def _key_document(key: StoredKey) -> Document:
    return {
        "name": key.name,
        "permissions": sorted(key.permissions),
        "networks": list(key.networks),
        "created_by": key.created_by,
        "lifetime_seconds": int(key.lifetime.total_seconds()),
        "secrets": [_secret_document(secret) for secret in key.secrets],
    }


def _secret_document(secret: KeySecret) -> Document:
    return {"digest": secret.digest, "by": secret.idempotency_key, "expires_at": secret.expires_at}


def _key(stored: dict[str, Any] | None) -> StoredKey | None:
    if stored is None:
        return None
    return StoredKey(
        name=stored["name"],
        permissions=known_permissions(stored["permissions"]),
        networks=tuple(stored["networks"]),
        created_by=stored["created_by"],
        secrets=tuple(KeySecret(bytes(each["digest"]), each["by"], each["expires_at"]) for each in stored["secrets"]),
        used_at=stored.get("used_at"),
        lifetime=timedelta(seconds=stored["lifetime_seconds"]),
    )
