"""Tenants in MongoDB. Their documents also contain revocation decisions and idempotency keys."""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import pymongo
from pymongo import ASCENDING, WriteConcern
from pymongo.errors import DuplicateKeyError

from shared.contracts import names
from shared.contracts.errors import EmailTaken, InvalidCredentials, TenantNotFound, Unavailable
from shared.contracts.events import RevocationReason
from shared.contracts.settings import TenantSettings
from worker.adapters import mongo_durability, mongo_idempotency
from worker.adapters.mongo_database import (
    MAX_DECISION_ROUNDS,
    MAX_PAGE_SECONDS,
    NOT_DELETED,
    Document,
    MongoDatabase,
    unavailable_when_away,
)
from worker.adapters.mongo_failures import repeated
from worker.adapters.mongo_idempotency import Deletions
from worker.adapters.mongo_queries import first_found, first_readable, readable
from worker.domain.records import (
    CLOSING,
    MAX_RESET_CODES,
    IdempotencyKey,
    StoredCounts,
    StoredReset,
    StoredTenant,
    TenantRevocation,
)

#: Lost counts are counted again, so they do not wait for a majority.
UNREPLICATED = WriteConcern(w=1, wtimeout=2_000)

_ACTIVE = {**NOT_DELETED, "disabled_at": {"$exists": False}}


class MongoTenants:
    """Implements the port `Tenants`."""

    def __init__(self, database: MongoDatabase) -> None:
        self._tenants = database.collection("tenants")
        self._committed = mongo_durability.committed(self._tenants)
        self._unreplicated = self._tenants.with_options(write_concern=UNREPLICATED)
        self._deletions = Deletions(database)

    async def add(self, tenant: StoredTenant) -> None:
        with unavailable_when_away():
            if await self._deletions.find(None, tenant.email, _creation(tenant)):
                raise EmailTaken
            try:
                await mongo_durability.insert(self._tenants, _to_document(tenant), ("email",))
            except DuplicateKeyError:
                raise EmailTaken from None

    async def find(self, tenant: str) -> StoredTenant | None:
        with unavailable_when_away():
            document = await self._tenants.find_one({"_id": tenant, **NOT_DELETED})
        return _from_document(document) if document else None

    async def find_by_email(self, email: str) -> StoredTenant | None:
        with unavailable_when_away():
            document = await self._tenants.find_one({"email": email, **NOT_DELETED})
        return _from_document(document) if document else None

    async def page(self, search: str, after: str, limit: int) -> Sequence[StoredTenant]:
        emails: Document = {"$gt": after}
        if search:  # the database compares it with the keys of the index, and reads the tenants that match
            # As given, or in the form in which emails are stored.
            spellings = {spelling.lower() for spelling in (search, names.nfc(search))}
            emails["$regex"] = "|".join(sorted(map(re.escape, spellings)))
        found = self._tenants.find({"email": emails}).sort("email", ASCENDING)
        with unavailable_when_away(), pymongo.timeout(MAX_PAGE_SECONDS):
            return await first_readable(found, _from_document, limit, lambda tenant: "deleted_at" not in tenant)

    async def is_current(self, tenant: StoredTenant) -> bool:
        with unavailable_when_away():
            found = await self._tenants.find_one(
                {"_id": tenant.id, "generation": tenant.generation, **_ACTIVE}, projection=["_id"]
            )
        return found is not None

    async def admits(self, tenant: str, generation: int) -> bool:
        with unavailable_when_away():
            found = await self._tenants.find_one(
                {"_id": tenant, "closed_generation": {"$not": {"$gt": generation}}, **_ACTIVE}, projection=["_id"]
            )
        return found is not None

    async def replace_hash(self, tenant: StoredTenant, password_hash: str) -> None:
        with unavailable_when_away():
            await self._tenants.update_one(
                {"_id": tenant.id, "password_hash": tenant.password_hash}, {"$set": {"password_hash": password_hash}}
            )

    async def decide_revocation(
        self,
        tenant: str,
        reason: RevocationReason,
        key: IdempotencyKey,
        password_hash: str | None = None,
        *,
        with_users: bool = False,
        revoke_keys: bool = False,
        code_digest: bytes | None = None,
    ) -> TenantRevocation:
        for _ in range(MAX_DECISION_ROUNDS):
            with unavailable_when_away():
                document = await self._tenants.find_one({"_id": tenant})
                # The tenant is read first: its deletion is stored before its document is removed.
                if before := _decided_before(key, document, await self._deletions.find_by_id(tenant, key)):
                    return before
                if document is None or "deleted_at" in document:
                    raise TenantNotFound
                if code_digest is not None and not _has_live_code(document, code_digest, key.at):
                    raise InvalidCredentials
                unfinished = _from_decision(tenant, document["ending"]) if "ending" in document else None
                decision = TenantRevocation.after(
                    tenant,
                    document["generation"],
                    reason,
                    unfinished,
                    with_users=with_users,
                    revoke_keys=revoke_keys,
                )
                code = {} if code_digest is None else {"reset.digests": code_digest}
                # Only if the generation is unchanged: two concurrent decisions must not get the
                # same one.
                result = await self._tenants.update_one(
                    {"_id": tenant, "generation": document["generation"], **NOT_DELETED, **code},
                    {
                        "$set": _decided(decision, key, password_hash),
                        "$unset": {"reset": ""},
                        **mongo_idempotency.recorded(key, **_decision_to_document(decision)),
                    },
                )
            if result.matched_count:
                return decision
        raise Unavailable

    async def find_decision(self, tenant: str, key: IdempotencyKey) -> TenantRevocation | None:
        with unavailable_when_away():
            document = await self._tenants.find_one({"_id": tenant})
            return _decided_before(key, document, await self._deletions.find_by_id(tenant, key))

    async def find_decision_by_email(self, email: str, key: IdempotencyKey) -> TenantRevocation | None:
        with unavailable_when_away():
            document = await self._tenants.find_one({"email": email})
            return _decided_before(key, document, await self._deletions.find(None, email, key))

    async def finish_revocation(self, decision: TenantRevocation) -> None:
        decided = {"_id": decision.tenant, "ending.generation": decision.generation}
        with unavailable_when_away():
            if decision.reason is not RevocationReason.TENANT_DELETED:
                await self._tenants.update_one(decided, {"$unset": {"ending": ""}})
                return
            if document := await self._tenants.find_one(decided):
                # Stored with tenant None and the email as login, so that no user's deletion is
                # confused with it.
                await self._deletions.add({**document, "tenant": None, "login": document["email"]})
            # If another worker removed it, this waits until the removal is durable.
            await self._tenants.delete_one(decided)

    async def unfinished_revocations(self, older_than: datetime, limit: int) -> list[TenantRevocation]:
        with unavailable_when_away():
            documents = await first_found(self._committed.find({"ending.at": {"$lt": older_than}}), limit)
        return readable(documents, lambda document: _from_decision(document["_id"], document["ending"]))

    async def enable(self, tenant: str, key: IdempotencyKey) -> None:
        with unavailable_when_away():
            await self._tenants.update_one(
                {"_id": tenant, **NOT_DELETED, **mongo_idempotency.not_applied(key)},
                {"$unset": {"disabled_at": ""}, **mongo_idempotency.recorded(key)},
            )

    async def begin_reset(self, tenant: StoredTenant, reset: StoredReset) -> None:
        at_generation = {"_id": tenant.id, "generation": reset.generation, **NOT_DELETED}
        same = {"reset.by": reset.idempotency_key, "reset.generation": reset.generation}
        # Two updates: the first adds to a reset of the same request, the second replaces any other.
        more = {
            "$push": {"reset.digests": {"$each": list(reset.digests), "$slice": -MAX_RESET_CODES}},
            "$set": {"reset.expires_at": reset.expires_at},
        }
        for _ in range(MAX_DECISION_ROUNDS):
            with unavailable_when_away():
                if (await self._tenants.update_one({**at_generation, **same}, more)).matched_count:
                    return
                document = await self._tenants.find_one({"_id": tenant.id})
                if document is None or "deleted_at" in document or document["generation"] != reset.generation:
                    break
                other = document.get("reset")
                if other and (other["by"], other["generation"]) == (reset.idempotency_key, reset.generation):
                    continue  # another delivery has stored it since
                result = await self._tenants.update_one(
                    {**at_generation, "reset.by": other["by"] if other else {"$exists": False}},
                    {"$set": {"reset": _reset_document(reset)}},
                )
            if result.matched_count:
                return
        raise Unavailable

    async def change_settings(self, tenant: str, changes: Mapping[str, Any], key: IdempotencyKey) -> StoredTenant:
        written = {f"settings.{name}": value for name, value in changes.items() if value is not None}
        removed = {f"settings.{name}": "" for name, value in changes.items() if value is None}
        update = {"$set": written, "$unset": removed}
        with unavailable_when_away():
            await self._tenants.update_one(
                {"_id": tenant, **NOT_DELETED, **mongo_idempotency.not_applied(key)},
                {**{name: fields for name, fields in update.items() if fields}, **mongo_idempotency.recorded(key)},
            )
        found = await self.find(tenant)
        if found is None:
            raise TenantNotFound
        return found

    async def request_counts(self, tenants: Collection[str], now: datetime) -> None:
        wanted = {"_id": {"$in": list(tenants)}, "recount": {"$exists": False}, **NOT_DELETED}
        with unavailable_when_away():
            await repeated(lambda: self._unreplicated.update_many(wanted, {"$set": {"recount": now}}))

    async def with_requested_counts(self, limit: int) -> Sequence[str]:
        requested = self._tenants.find({"recount": {"$exists": True}}, ["_id"]).sort("recount", ASCENDING)
        with unavailable_when_away():
            return [document["_id"] for document in await first_found(requested, limit)]

    async def store_counts(self, tenant: str, counts: StoredCounts | None) -> None:
        update: Document = {"$unset": {"recount": ""}}
        if counts is not None:
            update["$set"] = {"counts": {"users": counts.users, "sessions": counts.sessions, "at": counts.at}}
        with unavailable_when_away():
            await self._unreplicated.update_one({"_id": tenant}, update)


def _has_live_code(document: Document, digest: bytes, now: datetime) -> bool:
    reset = _reset(document.get("reset"))
    return reset is not None and reset.has_live(digest, document["generation"], now)


def _creation(tenant: StoredTenant) -> IdempotencyKey:
    return IdempotencyKey(tenant.idempotency_key, tenant.registered_at)


def _decided(decision: TenantRevocation, key: IdempotencyKey, password_hash: str | None) -> Document:
    """Return the fields that store the decision and its cause."""
    written: Document = {
        "generation": decision.generation,
        "ending": {**_decision_to_document(decision), "at": key.at},
    }
    if decision.is_closing:
        written["closed_generation"] = decision.generation
    if decision.reason is RevocationReason.TENANT_DISABLED:
        written["disabled_at"] = key.at
    if decision.reason is RevocationReason.TENANT_DELETED:
        written["deleted_at"] = key.at
    if password_hash is not None:
        written["password_hash"] = password_hash
    return written


def _decided_before(key: IdempotencyKey, *known: Document | None) -> TenantRevocation | None:
    """Return the request's decision if one of these documents, a tenant or a deletion, contains its key."""
    for document in filter(None, known):
        if before := mongo_idempotency.find_result(document, key):
            return _from_decision(document["_id"], before)
    return None


def _decision_to_document(decision: TenantRevocation) -> Document:
    return {
        "generation": decision.generation,
        "reason": decision.reason.value,
        "users_before": decision.users_before,
        "keys_before": decision.keys_before,
    }


def _from_decision(tenant: str, stored: Document) -> TenantRevocation:
    generation, reason = stored["generation"], RevocationReason(stored["reason"])
    # Documents of older versions have no `users_before`. These versions revoked users' sessions
    # only when the tenant was disabled or deleted.
    of_older = generation if reason in CLOSING else 0
    # Workers without `keys_before` revoke API keys with each decision, whatever its caller asked for.
    of_keys: Any = stored.get("keys_before", generation)
    return TenantRevocation(tenant, generation, reason, stored.get("users_before") or of_older, of_keys)


def _to_document(tenant: StoredTenant) -> Document:
    return {
        "_id": tenant.id,
        "email": tenant.email,
        "password_hash": tenant.password_hash,
        "registered_at": tenant.registered_at,
        "created_by": tenant.idempotency_key,
        "generation": tenant.generation,
        "marks": mongo_idempotency.initial_keys(_creation(tenant)),
    }


def _from_document(document: Document) -> StoredTenant:
    return StoredTenant(
        id=document["_id"],
        email=document["email"],
        password_hash=document["password_hash"],
        registered_at=document["registered_at"],
        idempotency_key=document["created_by"],
        generation=document["generation"],
        disabled="disabled_at" in document,
        settings=_settings(document.get("settings", {})),
        counts=_counts(document.get("counts")),
        reset=_reset(document.get("reset")),
    )


def _settings(stored: Document) -> TenantSettings:
    # Without settings of a newer version, which this one does not know.
    return TenantSettings(**{name: stored[name] for name in TenantSettings.model_fields if name in stored})


def _counts(stored: Document | None) -> StoredCounts | None:
    return None if stored is None else StoredCounts(stored["users"], stored["sessions"], stored["at"])


def _reset_document(reset: StoredReset) -> Document:
    return {
        "by": reset.idempotency_key,
        "generation": reset.generation,
        "expires_at": reset.expires_at,
        "digests": list(reset.digests),
    }


def _reset(stored: Document | None) -> StoredReset | None:
    if stored is None:
        return None
    digests = tuple(map(bytes, stored["digests"]))
    return StoredReset(stored["by"], stored["generation"], stored["expires_at"], digests)
