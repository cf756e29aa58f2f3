"""OAuth 2.0 clients that others wrote, against `/introspect` and `/revoke`. CI runs them, too."""

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from dev.processes import REPOSITORY
from shared.contracts.api_key import api_key_id
from tests.e2e.tenant import Tenant
from tests.interop.programs import output_of, program
from tests.service import RunningService

CLIENTS = REPOSITORY / "tests/interop/oauth"


async def _install(directory: Path, *command: str) -> None:
    """Install packages from a registry. Without one, the tests are skipped, but not in CI nor by `make interop`."""
    try:
        await output_of(directory, *command)
    except AssertionError as error:
        if {"CI", "INTEROP"} & os.environ.keys():
            raise
        pytest.skip(f"{command[0]}: {error}")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def node_clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    npm = program("npm", in_ci=True)
    directory = tmp_path_factory.mktemp("clients") / "oauth"
    shutil.copytree(CLIENTS, directory, ignore=shutil.ignore_patterns("node_modules"))
    await _install(directory, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    return directory


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def authlib(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Authlib, in a folder of its own."""
    directory = tmp_path_factory.mktemp("authlib")
    install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(directory))
    await _install(directory, sys.executable, *install, "--requirement", str(CLIENTS / "requirements.txt"))
    return directory


async def _node(directory: Path, library: str, method: str, **env: str) -> list[Any]:
    node = program("node", in_ci=True)
    results: list[Any] = json.loads(await output_of(directory, node, "client.js", library, method, env=env))
    return results


def _described(introspection: Any) -> tuple[Any, Any]:
    return introspection.get("active"), introspection.get("username")


libraries = pytest.mark.parametrize("library", ["openid-client", "oauth4webapi"])
methods = pytest.mark.parametrize("method", ["default", "basic", "post"])


@libraries
@methods
async def test_node_client_with_any_authentication_method_introspects_and_revokes(
    node_clients: Path, service: RunningService, tenant: Tenant, library: str, method: str
) -> None:
    await tenant.create("ann")
    before, revoked, after = await _node(
        node_clients, library, method, URL=service.urls[0], SECRET=tenant.token, TOKEN=await tenant.token_of("ann")
    )
    assert (_described(before), revoked, after) == ((True, "ann"), "done", {"active": False})


@libraries
@methods
async def test_node_client_with_a_wrong_secret_gets_a_challenge_that_it_parses(
    node_clients: Path, service: RunningService, tenant: Tenant, library: str, method: str
) -> None:
    env = {"URL": service.urls[0], "SECRET": "nonsense", "TOKEN": tenant.token}
    results = await _node(node_clients, library, method, **env)
    challenges = ["basic"] if method == "basic" else ["bearer", "basic"]
    refused = {"error": "OAUTH_WWW_AUTHENTICATE_CHALLENGE", "status": 401, "challenges": challenges}
    assert results == [refused] * 3


@libraries
async def test_node_client_that_revokes_a_tenant_token_learns_that_it_is_not_supported(
    node_clients: Path, service: RunningService, tenant: Tenant, library: str
) -> None:
    env = {"URL": service.urls[0], "SECRET": tenant.token, "TOKEN": tenant.token}
    _, revoked, _ = await _node(node_clients, library, "default", **env)
    assert revoked == {"error": "unsupported_token_type", "status": 400}


@methods
async def test_authlib_with_any_authentication_method_introspects_and_revokes(
    authlib: Path, service: RunningService, tenant: Tenant, method: str
) -> None:
    await tenant.create("ann")
    env = {"URL": service.urls[0], "SECRET": tenant.token, "TOKEN": await tenant.token_of("ann")}
    path = {"PYTHONPATH": str(authlib)}
    output = await output_of(authlib, sys.executable, str(CLIENTS / "client.py"), method, env={**env, **path})
    before, revoked, after = json.loads(output)
    assert (_described(before), revoked, after) == ((True, "ann"), "done", {"active": False})


@pytest.mark.parametrize(
    ("credentials", "form"),
    [
        ("--user {client}:{secret}", "token={token}"),
        ("--header 'Authorization: Bearer {secret}'", "token={token}"),
        ("", "token={token}&client_id={client}&client_secret={secret}"),
        ("--user {client}:{secret}", "token={token}&client_id={client}&client_secret={secret}"),
    ],
    ids=["basic", "bearer", "post", "basic and post"],
)
async def test_curl_with_any_authentication_method_introspects(
    service: RunningService, tenant: Tenant, tmp_path: Path, credentials: str, form: str
) -> None:
    """`basic and post`: lua-resty-openidc sends the credentials twice."""
    await tenant.create("ann")
    key = await tenant.key("tokens:verify")
    values = {"client": api_key_id(key), "secret": key, "token": await tenant.token_of("ann")}
    options = shlex.split(credentials.format(**values))
    url = f"{service.urls[0]}/introspect"
    output = await output_of(
        tmp_path, program("curl", in_ci=True), "-sS", *options, "--data", form.format(**values), url
    )
    assert _described(json.loads(output)) == (True, "ann")


async def test_no_client_leaves_a_secret_in_the_log(service: RunningService, tenant: Tenant) -> None:
    """Secrets in header, form or, against RFC 6749, 2.3.1, in the URL: also of requests that are refused."""
    async with httpx.AsyncClient(base_url=service.urls[0]) as http:
        for secret in (tenant.token, "s3cret-of-a-gateway"):
            form = {"token": "t0ken-of-a-user", "client_secret": secret}
            await http.post("/introspect", data=form)
            await http.post("/introspect", params=form, data={"token": "t0ken-of-a-user"})
            await http.post("/revoke", data={**form, "client_id": ["a", "b"]}, auth=("gateway", "s3cret-too"))
    logged = service.logs()
    assert "/introspect" in logged
    for secret in (tenant.token, "s3cret", "t0ken-of-a-user"):
        assert secret not in logged
