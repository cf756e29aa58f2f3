"""The database for the half of each suite that runs on the real adapters."""

from collections.abc import AsyncIterator

import pytest

from worker.adapters.mongo_database import MongoDatabase, connect
from worker.adapters.mongo_indexes import create_indexes


@pytest.fixture
async def mongo_database(mongo_url: str) -> AsyncIterator[MongoDatabase]:
    """A database of the test's own, with its indexes, dropped afterwards."""
    async with connect(mongo_url) as database:
        await create_indexes(database)
        yield database
        owner = database.collection("users").database
        await owner.client.drop_database(owner.name)
