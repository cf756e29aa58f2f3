"""Installations of the client: alone, and with the packages of a web service."""

import pytest
import pytest_asyncio

from tests.e2e.client.installation import DISTRIBUTION, Installation


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def alone(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """`pip install ./client`."""
    return await Installation.of(tmp_path_factory.mktemp("alone"), str(DISTRIBUTION))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def with_fastapi(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """`pip install './client[fastapi]' 'uvicorn[standard]'`, as in docs/guide.md."""
    return await Installation.of(tmp_path_factory.mktemp("web"), f"{DISTRIBUTION}[fastapi]", "uvicorn[standard]")
