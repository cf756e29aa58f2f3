"""Documents that this version cannot read, among others that it can."""

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
from worker.domain.audit_records import AuditQuery, StoredAuditRecord
from worker.domain.records import Revocation

LATER = NOW + timedelta(seconds=1)


async def test_session_revoked_for_an_unknown_reason_is_skipped_and_logged(
    mongo_database: MongoDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    """A newer version stored it. It is neither accepted nor announced, and other sessions are not affected."""
    sessions = MongoSessions(mongo_database)
    unreadable, readable = await sessions.add(a_session()), await sessions.add(a_session())
    for session in (unreadable, readable):
        await sessions.revoke(session, Revocation(NOW, RevocationReason.LOGOUT))
    await mongo_database.collection("sessions").update_one(
        {"_id": unreadable.id}, {"$set": {"revocation.reason": "moved_to_mars"}}
    )
    assert (await sessions.find([unreadable.id, readable.id])).keys() == {readable.id}
    assert [session.id for session in await sessions.unannounced("shop", LATER, 10)] == [readable.id]
    for session in (unreadable, readable):
        await sessions.announced(session, LATER)
    # An empty page would mean the end of the list.
    assert [session.id for session in await sessions.announced_after("shop", NOW, "", 1)] == [readable.id]
    assert "cannot be read" in caplog.text
    assert "moved_to_mars" not in caplog.text


async def test_page_of_users_with_an_unreadable_one_is_full(mongo_database: MongoDatabase) -> None:
    """A shorter page would mean the end of the list."""
    users = MongoUsers(mongo_database)
    logins = [f"user {number}" for number in range(6)]
    for login in logins:
        await users.add(a_user(login=login))
    await mongo_database.collection("users").update_one({"login": logins[1]}, {"$unset": {"sub": ""}})
    assert [user.login for user in await users.page("shop", "", "", 3)] == [logins[0], *logins[2:4]]
    assert [user.login for user in await users.page("shop", "", logins[3], 3)] == logins[4:]


async def test_page_of_audit_records_with_an_unreadable_one_is_full(mongo_database: MongoDatabase) -> None:
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
async def test_tenant_decision_of_an_older_version_includes_its_users(
    mongo_database: MongoDatabase, reason: RevocationReason, users_before: int
) -> None:
    """An older version stores no `users_before`."""
    tenants = MongoTenants(mongo_database)
    tenant, key = a_tenant(), a_key()
    await tenants.add(tenant)

    decision = await tenants.decide_revocation(tenant.id, reason, key)
    await mongo_database.collection("tenants").update_one(
        {"_id": tenant.id}, {"$unset": {"ending.users_before": "", "marks.1.users_before": ""}}
    )
    assert decision.users_before == users_before
    assert await tenants.unfinished_revocations(LATER, 10) == [decision]
    assert await tenants.find_decision(tenant.id, key) == decision


async def test_user_decision_of_a_newer_version_is_skipped(mongo_database: MongoDatabase) -> None:
    """A worker that knows the reason finishes it."""
    users = MongoUsers(mongo_database)
    unreadable, readable = a_user(), a_user()
    for user in (unreadable, readable):
        await users.add(user)
        await users.decide_revocation(user.tenant, user.login, RevocationReason.ALL_REVOKED, a_key())
    await mongo_database.collection("users").update_one(
        {"_id": unreadable.id}, {"$set": {"ending.reason": "moved_to_mars"}}
    )
    assert [decision.user for decision in await users.unfinished_revocations("shop", LATER, 10)] == [readable.id]
