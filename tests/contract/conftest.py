"""The MongoDB database that the contract suites run against."""

from collections.abc import AsyncIterator

import pytest

from tests.mongo_driver import connect
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_indexes import create_indexes


@pytest.fixture
async def mongo_database(mongo_url: str) -> AsyncIterator[MongoDatabase]:
    """Yield an empty database with its indexes, and drop it after the test."""
    async with connect(mongo_url) as database:
        await create_indexes(database)
        yield database
        owner = database.collection("users").database
        await owner.client.drop_database(owner.name)
