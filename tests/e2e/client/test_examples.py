"""The programs in `examples/`, run as a reader runs them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from dev.processes import ChildProcess, Service
from tests.e2e.client.installation import Installation
from tests.e2e.client.web_service import START_TIMEOUT_SECONDS, environment_of, serving
from tests.e2e.tenant import PASSWORD, Tenant
from tests.e2e.test_api_keys import issue
from tests.service import RunningService


@pytest_asyncio.fixture
async def notes(
    with_fastapi: Installation, service: RunningService, tenant: Tenant, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of examples/notes.py."""
    env = environment_of(service, tenant)
    async with serving(with_fastapi.bin / "python", "notes:app", "examples", env, tmp_path) as client:
        yield client


async def log_in(notes: httpx.AsyncClient, login: str) -> dict[str, str]:
    """Log in and return the headers of the session."""
    answer = await notes.post("/login", json={"login": login, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}


async def test_notes_after_logout_are_refused_immediately(notes: httpx.AsyncClient, tenant: Tenant) -> None:
    """The service verifies tokens from its cache; other sessions of the user stay alive."""
    await tenant.create("ann", scope="notes:read notes:write")
    assert (await notes.post("/login", json={"login": "ann", "password": "wrong password"})).status_code == 403
    assert (await notes.get("/notes")).status_code == 401
    ann, on_another_device = await log_in(notes, "ann"), await log_in(notes, "ann")
    assert (await notes.post("/notes", headers=ann, json={"text": "buy milk"})).status_code == 204
    for _ in range(3):
        assert (await notes.get("/notes", headers=ann)).json() == ["buy milk"]

    assert (await notes.post("/logout", headers=ann)).status_code == 204
    refused = await notes.get("/notes", headers=ann)
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (
        401,
        'Bearer realm="jincor-auth", error="invalid_token"',
    )
    assert (await notes.get("/notes", headers=on_another_device)).json() == ["buy milk"]


async def test_writing_notes_without_the_scope_is_refused(notes: httpx.AsyncClient, tenant: Tenant) -> None:
    await tenant.create("bob", scope={"notes": ["read"]})
    bob = await log_in(notes, "bob")
    assert (await notes.get("/notes", headers=bob)).json() == []
    refused = await notes.post("/notes", headers=bob, json={"text": "…"})
    assert (refused.status_code, 'scope="notes:write"' in refused.headers["WWW-Authenticate"]) == (403, True)


@pytest.mark.parametrize("credential", ["header", "subprotocol"])
async def test_open_websocket_is_closed_when_its_session_is_revoked(
    notes: httpx.AsyncClient, tenant: Tenant, credential: str
) -> None:
    """The tenant revokes all sessions of the user, outside the notes service."""
    await tenant.create("ann", scope="notes:read notes:write")
    ann = await log_in(notes, "ann")
    url = str(notes.base_url.join("/notes/live")).replace("http:", "ws:")
    with pytest.raises(InvalidStatus) as refused:
        await connect(url)
    assert refused.value.response.status_code == 401

    token = ann["Authorization"].removeprefix("Bearer ")
    opening = (
        connect(url, additional_headers=ann)
        if credential == "header"
        else connect(url, subprotocols=["jincor-auth", f"jincor-auth.bearer.{token}"])  # type: ignore[list-item]
    )
    async with opening as socket:
        assert socket.subprotocol == (None if credential == "header" else "jincor-auth")
        await socket.send("buy milk")
        assert await socket.recv() == "kept 1"
        assert (await tenant.call("DELETE", tenant.path("ann", "sessions"))).is_success
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "session ended")


async def test_audit_receives_every_revocation_also_while_stopped(
    with_fastapi: Installation, service: RunningService, tenant: Tenant, tmp_path: Path
) -> None:
    argv = [str(with_fastapi.bin / "python"), "examples/audit.py"]
    api_key = (await issue(tenant, permissions=["events:read"]))["apiKey"]
    env = {"AMQP_URL": service.amqp_url, "AUTH_API_KEY": api_key}
    audit = ChildProcess(Service("audit", argv, env), tmp_path)

    def trail() -> list[str]:
        return [json.loads(line)["device"] for line in audit.log_path.read_text().splitlines() if line[:1] == "{"]

    async def open_and_end_session(device: str) -> None:
        assert (await tenant.logout(await tenant.token_of("ann", device))).is_success

    async def has_the_first() -> bool:
        await open_and_end_session("the first")  # repeated: the queue collects nothing before its first start
        return "the first" in trail()

    async def has(device: str) -> bool:
        return device in trail()

    await tenant.create("ann")
    audit.start()
    try:
        await audit.wait_until(has_the_first, START_TIMEOUT_SECONDS)
        await open_and_end_session("while it runs")
        await audit.wait_until(lambda: has("while it runs"), START_TIMEOUT_SECONDS)
        await audit.terminate()
        await open_and_end_session("while it does not")
        audit.start()
        await audit.wait_until(lambda: has("while it does not"), START_TIMEOUT_SECONDS)
    finally:
        await audit.terminate()
    assert list(dict.fromkeys(trail())) == ["the first", "while it runs", "while it does not"]
    assert "Traceback" not in audit.log_path.read_text()
