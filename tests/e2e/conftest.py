"""The service with two edges and two workers of each kind, so that every test covers several processes."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from tests.backends import Backend
from tests.e2e.tenant import Tenant
from tests.office import WITH_OFFICE
from tests.service import RunningService, running_service


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningService]:
    directory = tmp_path_factory.mktemp("service")
    async with running_service(
        directory,
        await backend.vhost(),
        backend.database_url(),
        edges=2,
        workers=2,
        env={"AUTH_ACTIVITY_SECONDS": "0.5", "AUTH_REGISTRATION_KEY": "let-me-in-please", **WITH_OFFICE},
    ) as running:
        yield running


@pytest_asyncio.fixture
async def http(service: RunningService) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the first edge."""
    async with httpx.AsyncClient(base_url=service.urls[0], timeout=30) as client:
        yield client


@pytest_asyncio.fixture
async def tenant(http: httpx.AsyncClient) -> Tenant:
    """A new tenant for each test."""
    return await Tenant.register(http)
