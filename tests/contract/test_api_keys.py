"""The contract of `Sessions` for API keys, for the fake and MongoDB."""

import asyncio
import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.contracts.events import RevocationReason
from tests.fakes import NOW, FakeSessions
from tests.records import a_session, an_api_key
from worker.adapters.mongo_sessions import MongoSessions
from worker.domain.ports import Sessions
from worker.domain.records import KEY_KEPT, KeySecret, Revocation, StoredSession, TenantRevocation

REVOKED = Revocation(NOW, RevocationReason.REVOKED, idempotency_key="request")
#: Decisions about the tenant `shop` of generation 0, whether they revoke its keys, and with which reason.
DECISIONS = {
    "password change": (TenantRevocation("shop", 1, RevocationReason.PASSWORD_CHANGED), None),
    "password change with keys": (
        TenantRevocation("shop", 1, RevocationReason.PASSWORD_CHANGED, keys_before=1),
        RevocationReason.PASSWORD_CHANGED,
    ),
    "disabled": (
        TenantRevocation("shop", 1, RevocationReason.TENANT_DISABLED, users_before=1, keys_before=1),
        RevocationReason.TENANT_DISABLED,
    ),
    "deleted": (
        TenantRevocation("shop", 1, RevocationReason.TENANT_DELETED, users_before=1, keys_before=1),
        RevocationReason.TENANT_DELETED,
    ),
    "password change during a disable": (
        TenantRevocation("shop", 2, RevocationReason.PASSWORD_CHANGED, users_before=1, keys_before=1),
        RevocationReason.TENANT_DISABLED,
    ),
    "password change with keys during a disable": (
        TenantRevocation("shop", 2, RevocationReason.PASSWORD_CHANGED, users_before=1, keys_before=2),
        RevocationReason.PASSWORD_CHANGED,
    ),
}


@pytest.fixture(params=["fake", "mongo"])
def sessions(request: pytest.FixtureRequest) -> Sessions:
    if request.param == "fake":
        return FakeSessions()
    return MongoSessions(request.getfixturevalue("mongo_database"))


async def added(sessions: Sessions, **changes: Any) -> StoredSession:
    session, _ = an_api_key(**changes)
    return await sessions.add(session)


async def stored(sessions: Sessions, session: StoredSession) -> StoredSession:
    return (await sessions.find([session.id]))[session.id]


def with_secret(session: StoredSession, name: str, **changes: Any) -> StoredSession:
    """Return the key with a new secret in front."""
    assert session.key is not None
    secret = KeySecret(hashlib.sha256(name.encode()).digest(), name)
    return replace(session, key=replace(session.key, secrets=(secret, *session.key.secrets)), **changes)


async def test_added_key_is_found_unchanged(sessions: Sessions) -> None:
    secret = KeySecret(bytes(32), "request", NOW + timedelta(days=1))
    key = {"networks": ("10.0.0.0/8", "2001:db8::/32"), "lifetime": timedelta(days=30), "name": "gateway / eu"}
    session, _ = an_api_key(key)
    assert session.key is not None
    session = replace(session, key=replace(session.key, secrets=(*session.key.secrets, secret)))
    assert await sessions.add(session) == session
    assert await stored(sessions, session) == session


async def test_live_keys_are_listed_newest_first(sessions: Sessions) -> None:
    """Neither revoked or expired keys, nor keys of other tenants, nor other sessions of the tenant are listed."""
    for other in ({"tenant": "bank"}, {"expires_at": NOW}):
        await added(sessions, **other)
    await sessions.revoke(await added(sessions), REVOKED)
    await sessions.add(a_session(user=None))
    await sessions.add(a_session())
    keys = [await added(sessions, issued_at=NOW + timedelta(seconds=number % 3)) for number in range(8)]
    newest_first = sorted(keys, key=lambda key: (key.issued_at, key.id), reverse=True)
    assert await sessions.live_keys("shop", NOW, 100) == newest_first
    assert await sessions.live_keys("shop", NOW, 3) == newest_first[:3]
    assert await sessions.live_keys("nobody", NOW, 3) == []


async def test_replaced_secrets_are_stored_with_the_expiry(sessions: Sessions) -> None:
    session = await added(sessions)
    changed = with_secret(session, "second", expires_at=session.expires_at + timedelta(days=1))
    assert await sessions.replace_secrets(session, changed)
    assert await stored(sessions, session) == changed


async def test_replacing_secrets_keeps_every_other_member(sessions: Sessions) -> None:
    session = await added(sessions, key={"networks": ("10.0.0.0/8",)})
    assert session.key is not None
    other = replace(session, key=replace(session.key, name="another", networks=(), permissions=frozenset()))
    assert await sessions.replace_secrets(session, with_secret(other, "second"))
    assert await stored(sessions, session) == with_secret(session, "second")


async def test_of_concurrent_changes_of_secrets_one_is_stored(sessions: Sessions) -> None:
    session = await added(sessions)
    changes = [with_secret(session, f"secret {number}") for number in range(10)]
    results = await asyncio.gather(*(sessions.replace_secrets(session, changed) for changed in changes))
    assert sum(results) == 1
    assert await stored(sessions, session) == changes[results.index(True)]


async def test_secrets_of_a_revoked_or_unknown_key_are_not_replaced(sessions: Sessions) -> None:
    session = await added(sessions)
    await sessions.revoke(session, REVOKED)
    before = await stored(sessions, session)
    assert not await sessions.replace_secrets(session, with_secret(session, "second"))
    assert await stored(sessions, session) == before
    unknown, _ = an_api_key()
    assert not await sessions.replace_secrets(unknown, with_secret(unknown, "second"))
    assert await sessions.find([unknown.id]) == {}


async def test_revoked_key_expires_a_day_later_at_the_latest(sessions: Sessions) -> None:
    """Subscribers remember a revocation until its session expires, and a key may have been valid for years."""
    long, short = await added(sessions), await added(sessions, expires_at=NOW + timedelta(hours=1))
    for session, expires_at in ((long, NOW + KEY_KEPT), (short, short.expires_at)):
        revoked = await sessions.revoke(session, REVOKED)
        assert revoked == replace(session, revocation=REVOKED, expires_at=expires_at)
        assert await stored(sessions, session) == revoked


@pytest.mark.parametrize("name", DECISIONS)
async def test_decision_about_a_tenant_revokes_its_keys_only_if_it_includes_them(sessions: Sessions, name: str) -> None:
    """The tenant's own sessions are revoked with each decision, and keys of later generations with none."""
    decision, reason = DECISIONS[name]
    own = await sessions.add(a_session(user=None))
    old = await added(sessions)
    later, other = await added(sessions, tenant_generation=decision.generation), await added(sessions, tenant="bank")
    announced = await sessions.revoke_of_tenant(decision, NOW, 10)
    assert {session.id for session in announced} == {own.id, *([old.id] if reason else [])}
    assert (await stored(sessions, own)).revocation is not None
    revocation = (await stored(sessions, old)).revocation
    assert (revocation.reason if revocation else None) == reason
    assert (await stored(sessions, old)).expires_at == (NOW + KEY_KEPT if reason else old.expires_at)
    for kept in (later, other):
        assert await stored(sessions, kept) == kept
