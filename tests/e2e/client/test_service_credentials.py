"""A web service whose own tenant credentials are wrong."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from dev.ports import LOOPBACK, free_port
from dev.processes import ChildProcess, Service
from tests.e2e.client.installation import Installation
from tests.e2e.client.web_service import START_TIMEOUT_SECONDS, environment_of, serving
from tests.e2e.tenant import PASSWORD, Tenant
from tests.service import RunningService

#: The advice to the operator in the log.
REMEDY = "check `email` and `password`"


@contextlib.asynccontextmanager
async def ended(installation: Installation, env: Mapping[str, str], logs: Path) -> AsyncIterator[ChildProcess]:
    """Yield the process of examples/notes.py after it ended by itself."""
    argv = [str(installation.bin / "uvicorn"), "notes:app", "--app-dir", "examples"]
    process = ChildProcess(Service("notes", [*argv, "--host", LOOPBACK, "--port", str(free_port())], env), logs)

    async def has_ended() -> bool:
        return process.exit_code is not None

    process.start()
    try:
        await process.wait_until(has_ended, START_TIMEOUT_SECONDS)
        yield process
    finally:
        await process.terminate()


@pytest.fixture
def environment(service: RunningService, tenant: Tenant) -> Mapping[str, str]:
    return environment_of(service, tenant)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"AUTH_PASSWORD": "not the tenant's password"}, REMEDY),
        ({"AUTH_PASSWORD": ""}, "password"),
        ({"AUTH_EMAIL": "shop.example.com"}, "email"),
    ],
)
async def test_service_start_with_wrong_credentials_fails_and_names_them(
    with_fastapi: Installation, environment: Mapping[str, str], tmp_path: Path, wrong: dict[str, str], said: str
) -> None:
    async with ended(with_fastapi, {**environment, **wrong}, tmp_path) as process:
        log = process.log_path.read_text()
    assert process.exit_code not in {0, None}
    assert said in log
    assert "not the tenant's password" not in log


async def test_tenant_password_change_while_service_runs_is_no_users_fault(
    with_fastapi: Installation, environment: Mapping[str, str], tenant: Tenant, tmp_path: Path
) -> None:
    await tenant.create("ann", scope="notes:read notes:write")
    async with serving(with_fastapi.bin / "python", "notes:app", "examples", environment, tmp_path) as notes:
        credentials = {"login": "ann", "password": PASSWORD}
        logged_in = await notes.post("/login", json=credentials)
        assert (await notes.post("/login", json={**credentials, "password": "wrong password"})).status_code == 403

        change = {"currentPassword": PASSWORD, "password": "another correct horse"}
        changed = await tenant.call("PATCH", "/tenant", json=change)
        token = await replace(tenant, token=changed.json()["token"]).token_of("ann", "another device")
        answers: list[httpx.Response] = [
            await notes.post("/login", json=credentials),
            await notes.post("/login", json={**credentials, "password": "wrong password"}),
            await notes.get("/notes", headers={"Authorization": f"Bearer {token}"}),
        ]
    assert logged_in.status_code == 200
    assert [answer.status_code for answer in answers] == [503] * 3
    assert all("Retry-After" in answer.headers for answer in answers)
    assert (tmp_path / "notes.log").read_text().count(REMEDY) == 1
