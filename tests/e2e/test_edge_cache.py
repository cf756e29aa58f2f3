"""An edge with a verification cache."""

import asyncio
from pathlib import Path

import httpx

from tests.backends import Backend
from tests.e2e.tenant import Tenant
from tests.service import RunningService, running_service

PATIENCE_SECONDS = 30


async def test_edge_answers_from_its_cache_until_the_session_ends_elsewhere(backend: Backend, tmp_path: Path) -> None:
    """The test logs out a user session and the tenant session at another edge."""
    async with (
        running_service(
            tmp_path,
            await backend.vhost(),
            backend.database_url(),
            edges=2,
            env={"AUTH_VERIFY_CACHE_SECONDS": "600", "AUTH_REGISTRATION_NETWORKS": "127.0.0.0/8"},
        ) as service,
        httpx.AsyncClient(base_url=service.urls[0], timeout=30) as http,
        httpx.AsyncClient(base_url=service.urls[1], timeout=30) as elsewhere,
    ):
        tenant = await Tenant.register(http)
        await tenant.create("ann")
        kept, logged_out, other = [await tenant.token_of("ann") for _ in range(3)]
        for token in (kept, logged_out, other):
            await _until_cached(service, tenant, token)

        assert (await tenant.through(elsewhere).logout(logged_out)).status_code == 200
        await _until_refused(tenant, logged_out, 400)
        assert (await tenant.verify(kept)).status_code == 200

        ended = await elsewhere.post("/tenant/logout", json={"token": tenant.token})
        assert ended.status_code == 200
        await _until_refused(tenant, kept, 401)


async def _until_cached(service: RunningService, tenant: Tenant, token: str) -> None:
    """Verify until no worker is asked, which needs a live feed and one earlier request."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            assert (await tenant.verify(token)).status_code == 200
            before = await _verifications(service)
            assert (await tenant.verify(token)).status_code == 200
            await asyncio.sleep(0.1)  # a worker logs shortly after it replies
            if await _verifications(service) == before:
                return


async def _verifications(service: RunningService) -> int:
    return service.logs().count('"operation": "auth.verify"')


async def _until_refused(tenant: Tenant, token: str, status: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (response := await tenant.verify(token)).status_code == 200:
            pass
    assert response.status_code == status
