"""OAuth 2.0 clients that others wrote find `/oauth/token` and exchange an API key for an access token.

They use the fixtures of `test_oauth_clients`. CI runs them, too.
"""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from dev.processes import REPOSITORY
from tests.e2e.tenant import Tenant
from tests.interop.programs import output_of, program
from tests.interop.test_oauth_clients import CLIENTS, authlib, libraries, node_clients
from tests.service import RunningService

__all__ = ["authlib", "node_clients"]

SOME = ("users:read", "tokens:verify")

methods = pytest.mark.parametrize("method", ["basic", "post"])


async def _environment(service: RunningService, tenant: Tenant, **changes: str) -> dict[str, str]:
    """Return the variables of a client that has an API key of the tenant, and asks for one of its permissions."""
    await tenant.create("ann")
    key_id, key = await tenant.create_key(*SOME)
    token = await tenant.token_of("ann")
    env = {"URL": service.urls[0], "CLIENT": key_id, "SECRET": key, "SCOPE": "users:read", "TOKEN": token}
    return {**env, **changes}


async def _node(directory: Path, library: str, method: str, env: dict[str, str]) -> list[Any]:
    node = program("node", in_ci=True)
    results: list[Any] = json.loads(await output_of(directory, node, "grant.js", library, method, env=env))
    return results


async def _authlib(directory: Path, method: str, env: dict[str, str]) -> list[Any]:
    path = {"PYTHONPATH": str(directory)}
    output = await output_of(directory, sys.executable, str(CLIENTS / "grant.py"), method, env={**env, **path})
    results: list[Any] = json.loads(output)
    return results


async def _allows_what_it_says(issued: dict[str, Any], http: httpx.AsyncClient) -> None:
    """Assert that an access token with the scope `users:read` allows that and nothing else."""
    assert (issued["token_type"].lower(), issued["expires_in"], issued["scope"]) == ("bearer", 3_600, "users:read")
    headers = {"Authorization": f"Bearer {issued['access_token']}"}
    users = await http.get("/user", headers=headers)
    assert [user["login"] for user in users.json()["users"]] == ["ann"]
    refused = await http.get("/audit", headers=headers)
    assert (refused.status_code, refused.json()["details"]) == (403, {"permission": "audit:read"})
    another = await http.post("/oauth/token", headers=headers, data={"grant_type": "client_credentials"})
    assert (another.status_code, another.json()["error"]) == (401, "invalid_client")


@libraries
@methods
async def test_node_client_finds_the_endpoints_and_gets_an_access_token(
    node_clients: Path, service: RunningService, tenant: Tenant, library: str, method: str
) -> None:
    env = await _environment(service, tenant)
    issued, introspection = await _node(node_clients, library, method, env)
    await _allows_what_it_says(issued, tenant.http)
    assert (introspection["active"], introspection["username"]) == (True, "ann")


@libraries
@methods
async def test_node_client_understands_each_refusal(
    node_clients: Path, service: RunningService, tenant: Tenant, library: str, method: str
) -> None:
    env = await _environment(service, tenant, SCOPE="users:read users:write")
    issued, _ = await _node(node_clients, library, method, env)
    assert issued == {"error": "invalid_scope", "status": 400}
    challenges = ["basic"] if method == "basic" else ["bearer", "basic"]
    refused = {"error": "OAUTH_WWW_AUTHENTICATE_CHALLENGE", "status": 401, "challenges": challenges}
    for wrong in ({"CLIENT": "gateway"}, {"SECRET": tenant.token}, {"SECRET": "nonsense"}):
        issued, _ = await _node(node_clients, library, method, {**env, **wrong})
        assert issued == refused


@methods
async def test_authlib_finds_the_endpoints_and_gets_an_access_token(
    authlib: Path, service: RunningService, tenant: Tenant, method: str
) -> None:
    env = await _environment(service, tenant)
    issued, introspection = await _authlib(authlib, method, env)
    await _allows_what_it_says(issued, tenant.http)
    assert (introspection["active"], introspection["username"]) == (True, "ann")
    refused, _ = await _authlib(authlib, method, {**env, "SCOPE": "users:write"})
    assert refused == {"error": "invalid_scope"}


async def test_documented_curl_commands_get_an_access_token_and_use_it(
    service: RunningService, tenant: Tenant, tmp_path: Path
) -> None:
    """The commands of docs/http-api.md, as they stand there, at the URL of this service."""
    env = await _environment(service, tenant)
    page = (REPOSITORY / "docs/http-api.md").read_text()
    [block] = re.findall(r"```sh\n(ACCESS_TOKEN=.*?)```", page, re.DOTALL)
    script = tmp_path / "commands.sh"
    script.write_text(block.replace("http://127.0.0.1:8000", service.urls[0]))
    program("curl", in_ci=True)
    output = await output_of(
        tmp_path, "bash", "-eu", str(script), env={**os.environ, "KEY_ID": env["CLIENT"], "API_KEY": env["SECRET"]}
    )
    assert [user["login"] for user in json.loads(output)["users"]] == ["ann"]


async def test_no_secret_of_a_grant_gets_into_the_log(
    service: RunningService, http: httpx.AsyncClient, tenant: Tenant
) -> None:
    """Neither the key nor its access token, in header, form or URL, and also of refused requests."""
    key_id, key = await tenant.create_key(*SOME)
    form = {"grant_type": "client_credentials", "client_id": key_id, "client_secret": key}
    issued = (await http.post("/oauth/token", data=form)).json()
    await http.post("/oauth/token", params=form, data={"grant_type": "client_credentials"})
    for wrong in ({"scope": "users:write"}, {"scope": "s3cret-scope"}, {"grant_type": "s3cret-grant"}):
        assert (await http.post("/oauth/token", data={**form, **wrong})).status_code == 400
    await http.get("/user", headers={"Authorization": f"Bearer {issued['access_token']}"})
    logged = service.logs()
    assert "/oauth/token" in logged
    for secret in (key, issued["access_token"], "s3cret"):
        assert secret not in logged
