"""API keys for tests, stored directly."""

import hashlib
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.contracts.api_key import ID_CHARS, base62, new_api_key
from shared.contracts.permissions import TENANT_PERMISSIONS
from tests.fakes import NOW
from tests.records import a_session
from worker.adapters import mongo_database
from worker.adapters.mongo_sessions import MongoSessions
from worker.domain.records import KeySecret, StoredKey, StoredSession

LIFETIME = timedelta(days=1)


def an_api_key(tenant: str, *, issued_at: datetime = NOW, **members: Any) -> tuple[StoredSession, str]:
    """Return an API key of this tenant and its text. It has every permission, unless `members` say otherwise."""
    key_id = base62(secrets.randbits(128), ID_CHARS)
    text = new_api_key(key_id)
    key = StoredKey("gateway", TENANT_PERMISSIONS, (KeySecret(hashlib.sha256(text.encode()).digest(), "request"),))
    session = a_session(
        id=key_id,
        secret=secrets.token_bytes(32),
        tenant=tenant,
        user=None,
        login="tenant:shop@example.com",
        device_id=None,
        issued_at=issued_at,
        expires_at=issued_at + LIFETIME,
        idempotency_key=key_id,
        key=replace(key, **members),
    )
    return session, text


async def store_api_key(mongo_url: str, tenant: str, **members: Any) -> tuple[StoredSession, str]:
    """Store a new API key in the database of a running service, and return it and its text."""
    session, text = an_api_key(tenant, issued_at=datetime.now(UTC), **members)
    async with mongo_database.connect(mongo_url) as database:
        return await MongoSessions(database).add(session), text
