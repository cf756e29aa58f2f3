"""API keys in the database of a running service."""

from typing import Any

from shared.contracts.permissions import TENANT_PERMISSIONS
from tests.records import an_api_key
from worker.adapters import mongo_database
from worker.adapters.mongo_sessions import MongoSessions


async def store_api_key(mongo_url: str, tenant: str, **members: Any) -> tuple[str, str]:
    """Store a new API key of this tenant, and return its id and its text.

    It has every permission unless `members` say otherwise.
    """
    session, text = an_api_key({"permissions": TENANT_PERMISSIONS, **members}, tenant=tenant)
    async with mongo_database.connect(mongo_url) as database:
        await MongoSessions(database).add(session)
    return session.id, text
