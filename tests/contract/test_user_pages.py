"""Pages of a tenant with many users, each of which reads some hundred users."""

import time
from collections.abc import Awaitable, Callable, Sequence

import pytest

from shared.contracts.errors import Unavailable
from shared.contracts.events import RevocationReason
from tests.records import a_key, a_user
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_users import SPLIT_POINT_EVERY, MongoUsers
from worker.domain.records import StoredUser

#: Eight ranges between split points on average.
USERS = 8 * SPLIT_POINT_EVERY
#: Users per insert: the embedded database takes seconds for thousands.
CHUNK = 100
PAGE = 51


@pytest.fixture
async def users(mongo_database: MongoDatabase) -> MongoUsers:
    return MongoUsers(mongo_database)


async def import_users(users: MongoUsers, number: int, tenant: str = "shop") -> list[str]:
    """Store this many users, whose ids decide which of them are split points. Return their logins."""
    new = [a_user(id=f"{tenant}-{each}", tenant=tenant, login=f"user-{each:05}") for each in range(number)]
    for first in range(0, number, CHUNK):
        await users.add_new(new[first : first + CHUNK])
    return [user.login for user in new]


async def seconds_of(read: Callable[[], Awaitable[object]]) -> float:
    """Return the shortest of three durations."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        await read()
        times.append(time.perf_counter() - began)
    return min(times)


async def test_page_of_many_users_reads_few_of_them(users: MongoUsers, mongo_database: MongoDatabase) -> None:
    """Compares the first page, a middle one and a page of logins with the time to read all users of the tenant."""
    logins = await import_users(users, USERS)
    middle = logins[USERS // 2]
    stored = mongo_database.collection("users")
    reading_all = await seconds_of(lambda: stored.find({"tenant": "shop", "login": {"$gt": ""}}).to_list(None))
    pages: Sequence[Callable[[], Awaitable[object]]] = (
        lambda: users.page("shop", "", "", PAGE),
        lambda: users.page("shop", "", middle, PAGE),
        lambda: users.logins("shop", "", PAGE),
    )
    for page in pages:
        assert await seconds_of(page) < reading_all / 3


async def test_pages_across_split_points_are_complete_and_in_order(
    users: MongoUsers, mongo_database: MongoDatabase
) -> None:
    """This includes tenants whose id is a prefix of another's, and users stored by older workers."""
    logins = await import_users(users, 4 * SPLIT_POINT_EVERY)
    await import_users(users, SPLIT_POINT_EVERY, "shop too")
    stored = mongo_database.collection("users")
    points = await stored.count_documents({"tenant": "shop", "split_point": {"$exists": True}})
    assert points >= 2
    gone = await users.decide_revocation("shop", logins[7], RevocationReason.USER_DELETED, a_key())
    del logins[7]
    for page_size in (1_000, len(logins), len(logins) + 1):
        assert await every_login(users, page_size) == logins
    await users.finish_revocation(gone)
    await stored.update_many({"login": {"$gte": logins[len(logins) // 2]}}, {"$unset": {"split_point": ""}})
    assert await stored.count_documents({"tenant": "shop", "split_point": {"$exists": True}}) < points
    assert await every_login(users, 1_000) == logins
    assert await users.logins("shop", "", len(logins) + 1) == logins


async def every_login(users: MongoUsers, page_size: int) -> list[str]:
    found: list[StoredUser] = []
    while page := await users.page("shop", "", found[-1].login if found else "", page_size):
        found += page
    return [user.login for user in found]


async def test_page_beyond_its_time_limit_is_unavailable_while_the_database_is_reachable(
    users: MongoUsers, mongo_database: MongoDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    """A search reads all users of the tenant."""
    await import_users(users, 10 * CHUNK)
    hasty = MongoUsers(mongo_database, max_page_seconds=0.005)
    with pytest.raises(Unavailable, match="database did not answer in time"):
        await hasty.page("shop", "nobody", "", PAGE)
    assert [record.getMessage() for record in caplog.records] == ["database does not answer in time"]
    assert await users.page("shop", "nobody", "", PAGE) == []
