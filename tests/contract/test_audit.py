"""The contract of `Audit`, for the fake and MongoDB."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.fakes import NOW, FakeAudit
from worker.adapters.mongo_audit import MongoAudit
from worker.adapters.mongo_database import MongoDatabase
from worker.domain.audit_records import AuditQuery, StoredAuditRecord

KEPT_FOR = timedelta(days=90)
SECOND = timedelta(seconds=1)
NOW_MS = int(NOW.timestamp() * 1000)
EVERYTHING = AuditQuery(tenant="shop", type=None, logins=frozenset(), since=0, until=253_402_300_799_999, before=None)

AnyAudit = FakeAudit | MongoAudit


@pytest.fixture(params=["fake", "mongo"])
def audit(request: pytest.FixtureRequest) -> AnyAudit:
    if request.param == "fake":
        return FakeAudit()
    return MongoAudit(request.getfixturevalue("mongo_database"), KEPT_FOR)


def record(number: int = 1, **fields: object) -> StoredAuditRecord:
    """Return the record of a login of ann, `number` seconds after NOW."""
    login = StoredAuditRecord(
        id=f"{number:032x}", tenant="shop", at=NOW + number * SECOND, type="auth.login", outcome="ok", login="ann"
    )
    return replace(login, **fields)  # type: ignore[arg-type]


async def test_appended_record_is_read_with_all_its_fields(audit: AnyAudit) -> None:
    full = record(
        session="a-session",
        device_id="phone",
        client_address="2001:db8::1",
        service="shop",
        reason="password_changed",
        changed=("email", "password"),
        by_operator=True,
        actor="operator:olga",
        on_tenant="bank",
        request_id="r-1",
    )
    await audit.append(full)
    assert list(await audit.page(EVERYTHING, 10)) == [full]


async def test_record_of_an_older_worker_is_read_without_newer_members(mongo_database: MongoDatabase) -> None:
    audit = MongoAudit(mongo_database, KEPT_FOR)
    await audit.append(record())
    newer: dict[str, Any] = {"service": "", "actor": "", "on_tenant": ""}
    await mongo_database.collection("audit").update_one({}, {"$unset": newer})
    assert list(await audit.page(EVERYTHING, 10)) == [record()]


async def test_record_appended_twice_is_stored_once_as_the_first(audit: AnyAudit) -> None:
    await audit.append(record())
    await audit.append(record(at=NOW + 60 * SECOND, request_id="another"))
    assert list(await audit.page(EVERYTHING, 10)) == [record()]


async def test_refused_attempts_of_one_id_are_one_record_with_a_count(audit: AnyAudit) -> None:
    """Attempts of several batches add up; the record keeps the time of the first."""
    wrong = record(outcome="invalid_credentials")
    for _ in range(3):
        audit.attempted(wrong)
        audit.attempted(replace(wrong, at=wrong.at + SECOND))
        audit.attempted(record(2, outcome="throttled"))
        await audit.write()
    assert list(await audit.page(EVERYTHING, 10)) == [
        record(2, outcome="throttled", attempts=3),
        replace(wrong, attempts=6),
    ]


async def test_record_is_never_changed_after_it_was_written(mongo_database: MongoDatabase) -> None:
    """The database user of workers may insert and read records only. Further attempts are counted beside them."""
    audit, wrong = MongoAudit(mongo_database, KEPT_FOR), record(outcome="invalid_credentials")
    audit.attempted(wrong)
    await audit.write()
    stored = await mongo_database.collection("audit").find({}).to_list(None)
    for _ in range(2):
        audit.attempted(wrong)
        await audit.write()
    assert await mongo_database.collection("audit").find({}).to_list(None) == stored
    assert [each.attempts for each in await audit.page(EVERYTHING, 10)] == [3]
    (beside,) = await mongo_database.collection("refusals").find({}).to_list(None)
    assert beside == {"_id": wrong.id, "attempts": 2, "expires_at": stored[0]["expires_at"]}


async def test_attempts_that_an_older_worker_added_to_a_record_are_counted(mongo_database: MongoDatabase) -> None:
    audit, wrong = MongoAudit(mongo_database, KEPT_FOR), record(outcome="invalid_credentials")
    for _ in range(2):
        audit.attempted(wrong)
        await audit.write()
    await mongo_database.collection("audit").update_one({"_id": wrong.id}, {"$inc": {"attempts": 5}})
    assert [each.attempts for each in await audit.page(EVERYTHING, 10)] == [7]


async def test_pages_are_complete_and_newest_first_while_records_are_added(audit: AnyAudit) -> None:
    """Records of the same moment are ordered by id."""
    stored = [record(number, at=NOW + (number // 3) * SECOND) for number in range(10)]
    for each in stored:
        await audit.append(each)
    read: list[StoredAuditRecord] = []
    query = EVERYTHING
    while page := await audit.page(query, 4):
        read += page
        query = replace(query, before=page[-1].position)
        await audit.append(record(100 + len(read)))
    assert read == stored[::-1]


async def test_query_filters_by_type_login_time_and_tenant(audit: AnyAudit) -> None:
    ann, bob, deleted = record(1), record(2, login="bob"), record(3, type="user.delete", reason="user_deleted")
    for each in (ann, bob, deleted, record(4, tenant="bank")):
        await audit.append(each)

    async def found(**filters: object) -> list[StoredAuditRecord]:
        return list(await audit.page(replace(EVERYTHING, **filters), 10))  # type: ignore[arg-type]

    assert await found() == [deleted, bob, ann]
    assert await found(type="auth.login") == [bob, ann]
    assert await found(logins={"ann"}) == [deleted, ann]
    assert await found(type="auth.login", logins={"ann"}) == [ann]
    assert await found(since=NOW_MS + 2_000) == [deleted, bob]
    assert await found(until=NOW_MS + 2_000) == [ann]
    assert await found(logins={"an"}) == []
    assert await found(logins={"bob", "nobody"}) == [bob]
    assert await found(logins={"ann", "bob"}) == [deleted, bob, ann]
    assert await found(tenant="market") == []


async def test_stored_record_expires_after_the_retention(mongo_database: MongoDatabase) -> None:
    audit = MongoAudit(mongo_database, KEPT_FOR)
    await audit.append(record())
    audit.attempted(record(2))
    await audit.write()
    documents = await mongo_database.collection("audit").find({}).to_list(None)
    assert {each["expires_at"] - each["at"] for each in documents} == {KEPT_FOR}
    indexes = await mongo_database.collection("audit").index_information()
    assert [index["key"] for index in indexes.values() if index.get("expireAfterSeconds") == 0] == [[("expires_at", 1)]]


async def test_audit_that_is_switched_off_writes_nothing_and_reads_older_records(mongo_database: MongoDatabase) -> None:
    await MongoAudit(mongo_database, KEPT_FOR).append(record())
    audit = MongoAudit(mongo_database, None)
    await audit.append(record(2))
    audit.attempted(record(3))
    await audit.write()
    assert list(await audit.page(EVERYTHING, 10)) == [record()]


async def test_attempts_beyond_the_bound_are_dropped_and_logged(
    mongo_database: MongoDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    audit = MongoAudit(mongo_database, KEPT_FOR, max_waiting=3)
    for number in range(5):
        audit.attempted(record(number))
    await audit.write()
    assert len(await audit.page(EVERYTHING, 10)) == 3
    assert [vars(line)["records"] for line in caplog.records if "lost" in line.message] == [2]
