"""What every `Audit` must do."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.fakes import NOW, FakeAudit
from worker.adapters.mongo_audit import MongoAudit
from worker.adapters.mongo_database import MongoDatabase
from worker.domain.records import AuditQuery, StoredAuditRecord

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
    """A login of ann, so many seconds from now."""
    usual = StoredAuditRecord(
        id=f"{number:032x}", tenant="shop", at=NOW + number * SECOND, type="auth.login", outcome="ok", login="ann"
    )
    return replace(usual, **fields)  # type: ignore[arg-type]


async def test_a_record_comes_back_as_it_was_stored(audit: AnyAudit) -> None:
    """With all that it tells."""
    full = record(
        session="a-session",
        device_id="phone",
        client_address="2001:db8::1",
        service="shop",
        reason="password_changed",
        changed=("email", "password"),
        by_operator=True,
        request_id="r-1",
    )
    await audit.append(full)
    assert list(await audit.page(EVERYTHING, 10)) == [full]


async def test_a_record_of_an_older_worker_can_be_read(mongo_database: MongoDatabase) -> None:
    """It has no service in it, and that is what is read."""
    audit = MongoAudit(mongo_database, KEPT_FOR)
    await audit.append(record())
    await mongo_database.collection("audit").update_one({}, {"$unset": {"service": ""}})
    assert list(await audit.page(EVERYTHING, 10)) == [record()]


async def test_the_same_again_is_one_record(audit: AnyAudit) -> None:
    """That of the first time, whenever the request came again."""
    await audit.append(record())
    await audit.append(record(at=NOW + 60 * SECOND, request_id="another"))
    assert list(await audit.page(EVERYTHING, 10)) == [record()]


async def test_refused_attempts_of_one_id_are_counted(audit: AnyAudit) -> None:
    """As one record that tells of the first, however many batches they come in, and beside the others."""
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


async def test_pages_are_in_order_and_complete(audit: AnyAudit) -> None:
    """The newest first, those of the same moment by id; new ones shift nothing, and each is on one page."""
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


async def test_what_is_asked_for(audit: AnyAudit) -> None:
    """By operation, by login, by time from the first moment to before the last, and never another tenant's."""
    ann, bob, deleted = record(1), record(2, login="bob"), record(3, type="user.delete", reason="user_deleted")
    for each in (ann, bob, deleted, record(4, tenant="bank")):
        await audit.append(each)

    async def found(**wanted: object) -> list[StoredAuditRecord]:
        return list(await audit.page(replace(EVERYTHING, **wanted), 10))  # type: ignore[arg-type]

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


async def test_records_expire(mongo_database: MongoDatabase) -> None:
    """When they have been kept for so long the database removes them by itself."""
    audit = MongoAudit(mongo_database, KEPT_FOR)
    await audit.append(record())
    audit.attempted(record(2))
    await audit.write()
    documents = await mongo_database.collection("audit").find({}).to_list(None)
    assert {each["expires_at"] - each["at"] for each in documents} == {KEPT_FOR}
    indexes = await mongo_database.collection("audit").index_information()
    assert [index["key"] for index in indexes.values() if index.get("expireAfterSeconds") == 0] == [[("expires_at", 1)]]


async def test_nothing_is_written_when_it_is_off(mongo_database: MongoDatabase) -> None:
    """What was written before can be read."""
    await MongoAudit(mongo_database, KEPT_FOR).append(record())
    audit = MongoAudit(mongo_database, None)
    await audit.append(record(2))
    audit.attempted(record(3))
    await audit.write()
    assert list(await audit.page(EVERYTHING, 10)) == [record()]


async def test_what_waits_is_bounded(mongo_database: MongoDatabase, caplog: pytest.LogCaptureFixture) -> None:
    """Of more attempts than memory is for, the first are on record, and the log says how many are not."""
    audit = MongoAudit(mongo_database, KEPT_FOR, max_waiting=3)
    for number in range(5):
        audit.attempted(record(number))
    await audit.write()
    assert len(await audit.page(EVERYTHING, 10)) == 3
    assert [vars(line)["records"] for line in caplog.records if "lost" in line.message] == [2]
