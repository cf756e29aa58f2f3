"""Fixtures for every test: a broker and a database."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.backends import Backend, running_backend


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def backend(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    """A broker and a database, shared by all tests of the run."""
    async with running_backend(tmp_path_factory.mktemp("backend")) as running:
        yield running


@pytest.fixture
def mongo_url(backend: Backend) -> str:
    """An empty database for each test."""
    return backend.database_url()


@pytest_asyncio.fixture
async def amqp_url(backend: Backend) -> str:
    """An empty virtual host for each test."""
    return await backend.vhost()
