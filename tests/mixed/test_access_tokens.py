"""Access tokens during an upgrade: workers of the previous version refuse them, and none widens them."""

import asyncio

import httpx
import pytest

from tests.mixed.fleet import PATIENCE_SECONDS, Fleet, State
from tests.mixed.versions import WORKERS

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEW_WORKERS, BOTH, OLD_WORKERS = (
    State.of(WORKERS, "old new", "old new", "", workers) for workers in ("new", "old new", "old")
)


async def test_access_token_is_refused_by_old_workers_and_never_allows_more(fleet: Fleet) -> None:
    await fleet.change_to(NEW_WORKERS)
    assert fleet.tenant is not None
    old, new = fleet.edges["old"].http, fleet.edges["new"].http
    key_id, key = await fleet.tenant.through(new).create_key("users:read")
    form = {"grant_type": "client_credentials", "client_id": key_id, "client_secret": key}
    issued = await new.post("/oauth/token", data=form)
    assert issued.status_code == 200
    bearer = {"Authorization": f"Bearer {issued.json()['access_token']}"}
    assert (await old.post("/oauth/token", data=form)).status_code == 404
    for edge in (old, new):
        assert (await edge.get("/user", headers=bearer)).status_code == 200
        assert (await edge.get("/audit", headers=bearer)).status_code == 403

    await fleet.change_to(BOTH)
    seen: set[int] = set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while seen != {200, 401}:
            for edge in (old, new):  # the broker gives the requests to the two workers in turn
                answer = await edge.get("/user", headers=bearer)
                assert answer.status_code in {200, 401}, answer.text
                seen.add(answer.status_code)
            for edge in (old, new):
                refused = await edge.get("/audit", headers=bearer)
                assert refused.status_code in {401, 403}, refused.text
            asked = await new.post("/oauth/token", data=form)
            assert asked.status_code in {200, 503}, asked.text

    await fleet.change_to(OLD_WORKERS)
    for edge in (old, new):
        await _serves(edge)
        for _ in range(3):
            assert (await edge.get("/user", headers=bearer)).status_code == 401
            as_user = await fleet.tenant.through(edge).verify(issued.json()["access_token"])
            assert (as_user.status_code, as_user.json()["code"]) == (400, "invalid_token")
    asked = await new.post("/oauth/token", data=form)
    assert (asked.status_code, asked.json()["code"]) == (503, "unavailable")


async def _serves(edge: httpx.AsyncClient) -> None:
    """Wait until the edge finds workers."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (await edge.get("/health/ready")).is_success:  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.1)
