"""Lists and searches of tenants in a database with 10,000 of them."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests import fakes
from tests.records import a_session, a_user
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_sessions import MongoSessions
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers
from worker.domain.ports import Ports
from worker.domain.tenant_counts import with_counts

TENANTS = 10_000
PER_INSERT = 500
LIMIT = 20


async def fill(database: MongoDatabase) -> None:
    """Store the tenants. The email of number n is `n@shop<n modulo 100>.test`."""
    tenants = database.collection("tenants")
    for start in range(0, TENANTS, PER_INSERT):
        await tenants.insert_many(
            {
                "_id": f"tenant-{number}",
                "email": f"{number:05d}@shop{number % 100}.test",
                "password_hash": "hash",
                "registered_at": fakes.NOW,
                "created_by": "request",
                "generation": 0,
            }
            for number in range(start, start + PER_INSERT)
        )


async def seconds(call: Callable[[], Awaitable[Any]]) -> float:
    """Return the time of the fastest of three calls."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        await call()
        times.append(time.perf_counter() - began)
    return min(times)


async def numbers(ports: Ports, search: str, after: str) -> list[int]:
    return [int(tenant.email.partition("@")[0]) for tenant in await ports.tenants.page(search, after, LIMIT)]


async def test_pages_and_searches_of_ten_thousand_tenants_cost_about_the_same(mongo_database: MongoDatabase) -> None:
    """A page that takes the database longer than `MAX_PAGE_SECONDS` raises `Unavailable`.

    A search that matches nothing is the longest: it reads the whole index, and no tenant.
    """
    await fill(mongo_database)
    ports = fakes.ports(
        tenants=MongoTenants(mongo_database), users=MongoUsers(mongo_database), sessions=MongoSessions(mongo_database)
    )
    assert await numbers(ports, "", "") == list(range(LIMIT))
    assert await numbers(ports, "", "07000@shop0.test") == list(range(7_001, 7_001 + LIMIT))
    assert await numbers(ports, "SHOP42.", "01000") == list(range(1_042, 1_042 + 100 * LIMIT, 100))
    assert await numbers(ports, "nothing", "") == []
    first = await seconds(lambda: ports.tenants.page("", "", LIMIT))
    deep = await seconds(lambda: ports.tenants.page("", "09900", LIMIT))
    vain = await seconds(lambda: ports.tenants.page("nothing", "", LIMIT))
    one = await seconds(lambda: ports.tenants.find("tenant-1"))
    assert deep < 2 * first + one
    # MongoDB stops at the limit of the first page, and reads 10,000 keys of the index in vain in some milliseconds.
    assert vain < 5 * first + 50 * one

    await ports.users.add(a_user(tenant="tenant-3"))
    await ports.sessions.add(a_session(tenant="tenant-3"))
    views = await with_counts(await ports.tenants.page("", "", LIMIT), ports)
    assert [(view.users.value, view.sessions.value) for view in views] == [(n == 3, n == 3) for n in range(LIMIT)]
