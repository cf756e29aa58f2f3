"""`/auth/forward` of a running edge. tests/interop/test_forward_gateways.py has real gateways in front of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from dev.ports import accepts_connections, free_port
from dev.processes import ChildProcess
from dev.services import api_service
from tests.e2e.tenant import PASSWORD, Tenant
from tests.e2e.test_api_keys import issue
from tests.service import RunningService

START_TIMEOUT_SECONDS = 30
#: A new edge may not be connected to the broker yet.
ATTEMPTS = 400
ATTEMPT_SECONDS = 0.05


@pytest_asyncio.fixture(params=["password", "API key"])
async def edge(
    request: pytest.FixtureRequest, service: RunningService, tenant: Tenant, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    """An edge that accepts tokens of this tenant's users at `/auth/forward`."""
    port = free_port()
    env = {"AUTH_FORWARD_EMAIL": tenant.email, "AUTH_FORWARD_PASSWORD": PASSWORD}
    if request.param == "API key":
        file = tmp_path / "key"
        file.write_text((await issue(tenant, permissions=["tokens:verify"]))["apiKey"])
        env = {"AUTH_FORWARD_API_KEY_FILE": str(file)}
    process = ChildProcess(api_service(port, amqp_url=service.amqp_url, env=env), tmp_path / "logs")
    process.start()
    try:
        await process.wait_until(lambda: accepts_connections(port), START_TIMEOUT_SECONDS)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    finally:
        await process.terminate()


async def _ask(client: httpx.AsyncClient, token: str | None, path: str = "/auth/forward") -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    for _ in range(ATTEMPTS):
        answer = await client.get(path, headers=headers)
        if answer.status_code != 503:
            break
        await asyncio.sleep(ATTEMPT_SECONDS)
    return answer


async def test_live_token_is_accepted_with_its_claims_as_ascii_headers(
    edge: httpx.AsyncClient, http: httpx.AsyncClient, tenant: Tenant
) -> None:
    """A dead, foreign or missing token is answered 401 with a challenge."""
    user = (await tenant.create("Ünï / 100%", sub=" s 1 ", scope={"a": "é"})).json()
    token = await tenant.token_of("Ünï / 100%")
    answer = await _ask(edge, token)
    assert answer.status_code == 200
    claims = (await tenant.verify(token)).json()["decoded"]
    assert {name: value for name, value in answer.headers.items() if name.startswith("x-auth-")} == {
        "x-auth-user": user["id"],
        "x-auth-login": "%C3%9Cn%C3%AF / 100%25",
        "x-auth-sub": "%20s 1%20",
        "x-auth-tenant": tenant.id,
        "x-auth-scope": '{"a": "\\u00e9"}',
        "x-auth-device": "phone",
        "x-auth-session": claims["jti"],
    }
    await tenant.logout(token)
    other = await Tenant.register(http)
    await other.create("theirs")
    for refused in (token, await other.token_of("theirs"), tenant.token, "nonsense", None):
        answer = await _ask(edge, refused)
        assert (answer.status_code, answer.headers["WWW-Authenticate"][:6]) == (401, "Bearer")


async def test_forward_without_a_configured_tenant_is_404(http: httpx.AsyncClient) -> None:
    assert (await _ask(http, "x")).status_code == 404
