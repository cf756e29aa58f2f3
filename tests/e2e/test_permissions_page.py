"""The commands of docs/permissions.md and docs/gateways.md, run in a shell as they are written."""

import asyncio
import os
import re
import shutil
from collections.abc import Sequence

import httpx
import pytest

from dev.permission_tables import PAGE
from dev.processes import REPOSITORY
from tests.e2e.tenant import PASSWORD, Tenant

TIMEOUT_SECONDS = 60


async def run(script: str, names: Sequence[str], **env: str) -> list[str]:
    """Run a script with these variables, and return the values of these names at its end."""
    shown = "".join(f'printf "%s\\n" "${name}" >&3\n' for name in names)
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        f"set -eu; exec 3>&1 1>&2\n{script}\n{shown}",
        env={**os.environ, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), TIMEOUT_SECONDS)
    assert process.returncode == 0, errors.decode()
    return output.decode().splitlines()


async def permissions_of(http: httpx.AsyncClient, key: str) -> set[str] | None:
    """Return the permissions of a key, or None if it is not valid."""
    response = await http.get("/principal", headers={"Authorization": f"Bearer {key}"})
    if response.status_code == httpx.codes.UNAUTHORIZED:
        return None
    assert response.is_success, response.text
    return set(response.json()["permissions"])


async def test_commands_of_the_page_create_rotate_and_revoke_keys(http: httpx.AsyncClient, tenant: Tenant) -> None:
    """Each key has the permissions that the recipe gives it, and works for its program."""
    if not (shutil.which("bash") and shutil.which("curl")):
        pytest.skip("the page is for bash and curl")
    keys, _, _ = PAGE.read_text().partition("\n## Operators\n")  # tests/integration/test_make_run.py runs these
    create, rotate, revoke = re.findall(r"^```sh\n(.*?)^```", keys, re.MULTILINE | re.DOTALL)
    env = {"AUTH": str(http.base_url).rstrip("/"), "TENANT_TOKEN": tenant.token}

    names = ("GATEWAY_KEY", "LOGIN_KEY", "JOB_KEY", "MAILER_KEY")
    gateway, login, job, mailer = await run(create, names, **env)
    assert await permissions_of(http, gateway) == {"tokens:verify"}
    assert await permissions_of(http, mailer) == {"events:read"}
    as_job, as_login, as_gateway = (
        Tenant(http, tenant.id, tenant.email, credential) for credential in (job, login, gateway)
    )
    assert (await as_job.create("ann")).is_success
    token = await as_login.token_of("ann")
    assert (await as_gateway.verify(token)).is_success
    for refused in (as_gateway.create("bob"), as_job.login("ann", PASSWORD), as_gateway.logout(token)):
        assert (await refused).status_code == httpx.codes.FORBIDDEN
    assert (await as_login.logout(token)).is_success

    key_id, renewed = await run(rotate, ("KEY_ID", "NEW_GATEWAY_KEY"), GATEWAY_KEY=gateway, **env)
    for key in (gateway, renewed):
        assert await permissions_of(http, key) == {"tokens:verify"}

    await run(revoke, (), KEY_ID=key_id, **env)
    for key in (gateway, renewed):
        assert await permissions_of(http, key) is None
    assert await permissions_of(http, mailer) == {"events:read"}


async def test_commands_of_the_gateways_page_introspect_with_a_key(http: httpx.AsyncClient, tenant: Tenant) -> None:
    if not (shutil.which("bash") and shutil.which("curl")):
        pytest.skip("the page is for bash and curl")
    text = (REPOSITORY / "docs/gateways.md").read_text()
    (commands,) = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    commands = commands.replace("http://127.0.0.1:8000", str(http.base_url).rstrip("/"))
    await tenant.create("ann")
    env = {"GATEWAY_KEY": await tenant.key("tokens:verify"), "TOKEN": await tenant.token_of("ann")}
    (answers,) = await run(f"ANSWERS=$({commands})", ("ANSWERS",), **env)
    assert answers.count('"active":true') == commands.count("curl") == 3
