"""A running service for the programs that others wrote. Its second edge leaves `exp` out of introspection answers."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from tests.backends import Backend
from tests.e2e.tenant import Tenant
from tests.service import RunningService, running_service


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningService]:
    directory = tmp_path_factory.mktemp("service")
    env_of = {"api-1": {"AUTH_INTROSPECTION_EXP": "false"}}
    vhost, database = await backend.vhost(), backend.database_url()
    async with running_service(directory, vhost, database, edges=2, env_of=env_of) as running:
        yield running


@pytest_asyncio.fixture
async def http(service: RunningService) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the first edge."""
    async with httpx.AsyncClient(base_url=service.urls[0], timeout=30) as client:
        yield client


@pytest_asyncio.fixture
async def tenant(http: httpx.AsyncClient) -> Tenant:
    """A tenant of the test's own."""
    return await Tenant.register(http)
