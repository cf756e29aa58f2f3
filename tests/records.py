"""Valid and distinct records for tests."""

import hashlib
import itertools
from dataclasses import replace
from datetime import timedelta
from typing import Any

from shared.contracts.api_key import base62, new_api_key
from shared.contracts.claims import Claims
from shared.contracts.events import RevocationReason, SessionRevoked, SessionRevokedEvent
from shared.contracts.permissions import Permission
from tests.fakes import NOW
from worker.domain.records import (
    IdempotencyKey,
    KeySecret,
    StoredKey,
    StoredSession,
    StoredTenant,
    StoredUser,
)

_NUMBERS = itertools.count(1)


def a_tenant(**changes: Any) -> StoredTenant:
    """Return a tenant with these attributes."""
    number = next(_NUMBERS)
    tenant = StoredTenant(
        id=f"tenant-{number}",
        email=f"tenant-{number}@example.com",
        password_hash=f"hash-{number}",
        registered_at=NOW,
        idempotency_key=f"message-{number}",
    )
    return replace(tenant, **changes)


def a_user(**changes: Any) -> StoredUser:
    """Return a user of the tenant `shop` with these attributes."""
    number = next(_NUMBERS)
    user = StoredUser(
        id=f"user-{number}",
        tenant="shop",
        login=f"login-{number}",
        email=f"user-{number}@example.com",
        sub=f"sub-{number}",
        scope={"number": number},
        password_hash=f"hash-{number}",
        registered_at=NOW,
        last_active_at=NOW,
        idempotency_key=f"message-{number}",
    )
    return replace(user, **changes)


def a_session(**changes: Any) -> StoredSession:
    """Return a session of the user `ann` of the tenant `shop` with these attributes. It lasts a day."""
    number = next(_NUMBERS)
    session = StoredSession(
        id=f"session-{number:0>24}",
        secret=number.to_bytes(32),
        master_key_id="test",
        tenant="shop",
        user="ann",
        login="ann@example.com",
        device_id=f"device-{number}",
        issued_at=NOW,
        expires_at=NOW + timedelta(days=1),
        idempotency_key=f"message-{number}",
    )
    return replace(session, **changes)


def an_api_key(key: dict[str, Any] | None = None, **changes: Any) -> tuple[StoredSession, str]:
    """Return an API key of the tenant `shop` with these attributes, and its text. It lasts a year."""
    number = next(_NUMBERS)
    id_ = base62(number, 22)
    text = new_api_key(id_)
    secret = KeySecret(hashlib.sha256(text.encode()).digest(), f"message-{number}")
    stored = StoredKey(f"key {number}", frozenset({Permission.TOKENS_VERIFY}), (secret,), created_by="tenant:shop")
    whole: dict[str, Any] = {"id": id_, "user": None, "login": "tenant:shop", "device_id": None}
    whole |= {"expires_at": NOW + timedelta(days=365), "key": replace(stored, **(key or {}))}
    return a_session(**{**whole, **changes}), text


def a_key(**changes: Any) -> IdempotencyKey:
    """Return the idempotency key of a new request."""
    return replace(IdempotencyKey(value=f"request-{next(_NUMBERS)}", at=NOW), **changes)


def some_claims(**changes: Any) -> Claims:
    """Return claims of the user `ann` of the tenant `shop` with these changes, each of a session of its own."""
    number = next(_NUMBERS)
    issued_at = int(NOW.timestamp())
    claims = Claims(
        iss="jincor-auth",
        aud="shop",
        sub=f"sub-{number}",
        iat=issued_at,
        exp=issued_at + 24 * 3600,
        jti=f"session-{number:0>24}",
        id="ann",
        login="ann@example.com",
        tenant="shop",
        scope={"number": number},
        device_id=f"device-{number}",
    )
    return claims.model_copy(update=changes)


def a_revocation(claims: Claims, **changes: Any) -> SessionRevokedEvent:
    """Return the event that announces the revocation of these claims' session."""
    data = SessionRevoked(
        session_id=claims.jti,
        tenant=claims.tenant,
        user=claims.id,
        login=claims.login,
        device_id=claims.device_id,
        reason=RevocationReason.LOGOUT,
        event_timestamp=claims.iat + 60,
        exp=claims.exp,
    )
    return SessionRevokedEvent.of(data.model_copy(update=changes), claims.iss)
