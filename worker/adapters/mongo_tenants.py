"""Tenants in MongoDB."""

from pymongo.errors import DuplicateKeyError

from shared.contracts.errors import EmailTaken
from worker.adapters.mongo_database import Document, MongoDatabase, unavailable_when_away
from worker.ports import Tenant


class MongoTenants:
    """Implements `worker.ports.Tenants`."""

    def __init__(self, database: MongoDatabase) -> None:
        self._tenants = database.collection("tenants")

    async def add(self, tenant: Tenant) -> None:
        with unavailable_when_away():
            try:
                await self._tenants.insert_one(_to_document(tenant))
            except DuplicateKeyError:
                raise EmailTaken from None

    async def find_by_email(self, email: str) -> Tenant | None:
        with unavailable_when_away():
            document = await self._tenants.find_one({"email": email})
        return _from_document(document) if document else None

    async def replace_hash(self, tenant: Tenant, password_hash: str) -> None:
        with unavailable_when_away():
            await self._tenants.update_one(
                {"_id": tenant.id, "password_hash": tenant.password_hash}, {"$set": {"password_hash": password_hash}}
            )


def _to_document(tenant: Tenant) -> Document:
    return {
        "_id": tenant.id,
        "email": tenant.email,
        "password_hash": tenant.password_hash,
        "registered_at": tenant.registered_at,
        "created_by": tenant.created_by,
    }


def _from_document(document: Document) -> Tenant:
    return Tenant(
        id=document["_id"],
        email=document["email"],
        password_hash=document["password_hash"],
        registered_at=document["registered_at"],
        created_by=document["created_by"],
    )
