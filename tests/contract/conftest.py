"""The MongoDB database that the contract suites run against."""

from collections.abc import AsyncIterator

import pytest

from tests import mongo_driver
from tests.mongo_driver import connect
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_indexes import create_indexes

#: Suites that run with both client libraries in each run: those of what the libraries do in different ways, and of the
#: adapters with the most kinds of queries. `make faults` runs all suites with the other library.
WITH_BOTH_DRIVERS = {"test_mongo_time", "test_primary_lease", "test_sessions", "test_users"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__.rpartition(".")[2] in WITH_BOTH_DRIVERS:
        metafunc.parametrize("driver", ["motor", "pymongo"], indirect=True)


@pytest.fixture(autouse=True)
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Choose the client library of the test's connections, and return its name."""
    chosen: str = getattr(request, "param", mongo_driver.driver)
    monkeypatch.setattr(mongo_driver, "driver", chosen)
    return chosen


@pytest.fixture
async def mongo_database(mongo_url: str) -> AsyncIterator[MongoDatabase]:
    """Yield an empty database with its indexes, and drop it after the test."""
    async with connect(mongo_url) as database:
        await create_indexes(database)
        yield database
        owner = database.collection("users").database
        await owner.client.drop_database(owner.name)
