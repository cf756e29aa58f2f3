"""`AuthMiddleware` and `ServiceAuth` in a running web service, with the running auth service."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.e2e.client.installation import Installation
from tests.e2e.client.web_service import environment_of, serving
from tests.e2e.tenant import Tenant
from tests.service import RunningService


@pytest_asyncio.fixture
async def plain(
    with_fastapi: Installation, service: RunningService, tenant: Tenant, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of `plain.py`."""
    env = environment_of(service, tenant)
    directory = str(Path(__file__).parent)
    async with serving(with_fastapi.bin / "python", "plain:app", directory, env, tmp_path) as client:
        yield client
    assert "websocket disconnected" in (tmp_path / "plain.log").read_text()


async def test_session_that_ends_elsewhere_closes_http_and_websocket(
    plain: httpx.AsyncClient, http: httpx.AsyncClient, tenant: Tenant
) -> None:
    """Tenant tokens and tokens of another tenant's users are refused."""
    await tenant.create("ann")
    token = await tenant.token_of("ann")
    ann = _bearer(token)
    assert (await plain.get("/health")).text == "ok"
    assert (await plain.get("/who", headers=ann)).text == "ann"
    other = await Tenant.register(http)
    await other.create("theirs")
    for refused in ({}, _bearer(tenant.token), _bearer(await other.token_of("theirs"))):
        assert (await plain.get("/who", headers=refused)).status_code == 401

    url = str(plain.base_url.join("/ticks")).replace("http:", "ws:")
    async with connect(url, additional_headers=ann) as socket:
        assert await socket.recv() == "tick"
        await tenant.logout(token)
        with pytest.raises(ConnectionClosed) as closed:
            await _read_all(socket)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "session ended")
    assert (await plain.get("/who", headers=ann)).status_code == 401


async def _read_all(socket: ClientConnection) -> None:
    async for _ in socket:
        pass


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
