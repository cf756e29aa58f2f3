"""One document that cannot be read is not in the way of the others."""

from datetime import timedelta

import pytest

from shared.contracts.events import RevocationReason
from tests.fakes import NOW
from tests.records import a_key, a_session, a_tenant, a_user
from worker.adapters.mongo_audit import MongoAudit
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_sessions import MongoSessions
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers
from worker.domain.records import AuditQuery, Revocation, StoredAuditRecord

LATER = NOW + timedelta(seconds=1)


async def test_a_session_that_a_newer_version_ended(
    mongo_database: MongoDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    """Its reason unknown here, it is passed over, logged, neither accepted nor announced, nor an error for others."""
    sessions = MongoSessions(mongo_database)
    odd, good = await sessions.add(a_session()), await sessions.add(a_session())
    for session in (odd, good):
        await sessions.revoke(session, Revocation(NOW, RevocationReason.LOGOUT))
    await mongo_database.collection("sessions").update_one(
        {"_id": odd.id}, {"$set": {"revocation.reason": "moved_to_mars"}}
    )
    assert (await sessions.find([odd.id, good.id])).keys() == {good.id}
    assert [session.id for session in await sessions.unannounced("shop", LATER, 10)] == [good.id]
    for session in (odd, good):
        await sessions.announced(session, LATER)
    # A page of one is full: an empty one would be the end of the list.
    assert [session.id for session in await sessions.announced_after("shop", NOW, "", 1)] == [good.id]
    assert "cannot be read" in caplog.text
    assert "moved_to_mars" not in caplog.text


async def test_a_page_of_users_with_one_that_cannot_be_read(mongo_database: MongoDatabase) -> None:
    """It is full all the same: one that is not would be the end of the list."""
    users = MongoUsers(mongo_database)
    logins = [f"user {number}" for number in range(6)]
    for login in logins:
        await users.add(a_user(login=login))
    await mongo_database.collection("users").update_one({"login": logins[1]}, {"$unset": {"sub": ""}})
    assert [user.login for user in await users.page("shop", "", "", 3)] == [logins[0], *logins[2:4]]
    assert [user.login for user in await users.page("shop", "", logins[3], 3)] == logins[4:]


async def test_a_page_of_the_audit_trail_with_a_record_that_cannot_be_read(mongo_database: MongoDatabase) -> None:
    """It is full all the same."""
    audit = MongoAudit(mongo_database, timedelta(days=1))
    records = [StoredAuditRecord(f"{number:032}", "shop", NOW, "auth.login", "ok") for number in range(5)]
    for record in records:
        await audit.append(record)
    await mongo_database.collection("audit").update_one({"_id": records[3].id}, {"$unset": {"outcome": ""}})
    query = AuditQuery("shop", None, frozenset(), 0, int(LATER.timestamp() * 1000), None)
    assert await audit.page(query, 3) == [records[4], records[2], records[1]]


@pytest.mark.parametrize(
    ("reason", "users_before"), [(RevocationReason.TENANT_DISABLED, 1), (RevocationReason.PASSWORD_CHANGED, 0)]
)
async def test_an_ending_of_a_tenant_that_an_older_version_decided(
    mongo_database: MongoDatabase, reason: RevocationReason, users_before: int
) -> None:
    """It did not say what is to end of users, and meant it all the same."""
    tenants = MongoTenants(mongo_database)
    tenant, key = a_tenant(), a_key()
    await tenants.add(tenant)
    ending = await tenants.decide_revocation(tenant.id, reason, key)
    await mongo_database.collection("tenants").update_one(
        {"_id": tenant.id}, {"$unset": {"ending.users_before": "", "marks.1.users_before": ""}}
    )
    assert ending.users_before == users_before
    assert await tenants.unfinished_revocations(LATER, 10) == [ending]
    assert await tenants.find_decision(tenant.id, key) == ending


async def test_an_ending_that_a_newer_version_decided(mongo_database: MongoDatabase) -> None:
    """It is left to a worker that knows what it means; the others are finished here."""
    users = MongoUsers(mongo_database)
    odd, good = a_user(), a_user()
    for user in (odd, good):
        await users.add(user)
        await users.decide_revocation(user.tenant, user.login, RevocationReason.ALL_REVOKED, a_key())
    await mongo_database.collection("users").update_one({"_id": odd.id}, {"$set": {"ending.reason": "moved_to_mars"}})
    assert [ending.user for ending in await users.unfinished_revocations("shop", LATER, 10)] == [good.id]
