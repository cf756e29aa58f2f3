"""A fleet of both versions for each module, in which nothing runs yet."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.backends import Backend
from tests.mixed.fleet import Fleet
from tests.mixed.versions import both_versions


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    directory = tmp_path_factory.mktemp("mixed")
    versions = both_versions(directory / "previous")
    fleet = Fleet(directory, backend, await backend.vhost(), backend.database_url(), versions)
    try:
        yield fleet
    finally:
        await fleet.stop()
