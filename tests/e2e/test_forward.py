"""`/auth/forward`, directly and behind a real nginx."""

import asyncio
import itertools
import os
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import httpx
import pymongo
import pytest
import pytest_asyncio

from dev.ports import accepts_connections, free_port
from dev.processes import REPOSITORY, ChildProcess, Service
from dev.services import api_service
from tests.e2e.tenant import PASSWORD, Tenant
from tests.service import RunningService

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
START_TIMEOUT_SECONDS = 30
#: A new edge may not be connected to the broker yet.
ATTEMPTS = 400
ATTEMPT_SECONDS = 0.05

CONFIGURATION = """
daemon off;
pid {directory}/nginx.pid;
error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location = /auth {{
      internal;
      proxy_pass {edge}/auth/forward;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
    }}
    {application}
    location / {{
      auth_request /auth;
      auth_request_set $login $upstream_http_x_auth_login;
      add_header X-Login $login;
      root {pages};
    }}
  }}
  server {{
    listen 127.0.0.1:{application_port};
    location / {{ return 200 "{echo}"; }}
  }}
}}
"""
PAGE = REPOSITORY / "docs/gateways.md"
HEADERS = ("User", "Login", "Sub", "Tenant", "Scope", "Device", "Session")


@pytest_asyncio.fixture
async def edge(service: RunningService, tenant: Tenant, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """An edge that accepts tokens of this tenant's users at `/auth/forward`."""
    port = free_port()
    env = {"AUTH_FORWARD_EMAIL": tenant.email, "AUTH_FORWARD_PASSWORD": PASSWORD}
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


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """A page that nginx's own user may read."""
    directory = tmp_path / "pages"
    directory.mkdir()
    (directory / "index.html").write_text("the page")
    for parent in itertools.takewhile(lambda each: each != Path(gettempdir()), (directory, *directory.parents)):
        parent.chmod(0o755)
    return directory


@pytest_asyncio.fixture
async def nginx(edge: httpx.AsyncClient, pages: Path, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """nginx in front of the page and of an application that echoes its headers, configured as in docs/gateways.md."""
    assert NGINX is not None, "CI installs nginx"
    port, application_port = free_port(), free_port()
    (documented,) = re.findall(r"^location /app/ \{.*?^\}", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    file = tmp_path / "nginx.conf"
    file.write_text(
        CONFIGURATION.format(
            directory=tmp_path,
            pages=pages,
            port=port,
            edge=str(edge.base_url).rstrip("/"),
            application=documented.replace("127.0.0.1:9000", f"127.0.0.1:{application_port}"),
            application_port=application_port,
            echo="|".join(f"$http_x_auth_{name.lower()}" for name in HEADERS),
        )
    )
    process = ChildProcess(Service("nginx", [NGINX, "-c", str(file)], os.environ), tmp_path / "logs")
    process.start()
    try:
        await process.wait_until(lambda: accepts_connections(port), START_TIMEOUT_SECONDS)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    finally:
        await process.terminate()


@pytest.mark.skipif(NGINX is None and "CI" not in os.environ, reason="nginx is not installed")
async def test_nginx_serves_the_page_only_to_a_live_token(
    edge: httpx.AsyncClient, nginx: httpx.AsyncClient, tenant: Tenant
) -> None:
    await tenant.create("ann")
    token = await tenant.token_of("ann")
    assert (await _ask(edge, token)).is_success, "nginx turns any other status into 500"
    page = await _ask(nginx, token, "/")
    assert (page.status_code, page.text, page.headers["X-Login"]) == (200, "the page", "ann")
    assert (await _ask(nginx, None, "/")).status_code == 401
    await tenant.logout(token)
    assert (await _ask(nginx, token, "/")).status_code == 401


@pytest.mark.skipif(NGINX is None and "CI" not in os.environ, reason="nginx is not installed")
async def test_nginx_replaces_forged_identity_headers_of_the_client(
    edge: httpx.AsyncClient, nginx: httpx.AsyncClient, tenant: Tenant, service: RunningService
) -> None:
    """Missing claims replace forged headers too, and `" ann"` is not `ann`."""
    user = (await tenant.create("ann")).json()
    # New logins have no outer spaces; older accounts may have them.
    with pymongo.MongoClient[dict[str, Any]](service.mongo_url) as client:
        client.get_default_database()["users"].update_one({"_id": user["id"]}, {"$set": {"login": " ann"}})
    token = await tenant.token_of(" ann")
    claims = (await tenant.verify(token)).json()["decoded"]
    assert (await _ask(edge, token)).is_success, "nginx turns any other status into 500"
    spellings = ("X-Auth-{}", "x-auth-{}", "X_Auth_{}")
    forged = [(spelling.format(name), "admin") for name in HEADERS for spelling in spellings]
    echoed = await nginx.get("/app/", headers=[("Authorization", f"Bearer {token}"), *forged])
    assert echoed.status_code == 200
    assert echoed.text.split("|") == [user["id"], "%20ann", user["sub"], tenant.id, "", "phone", claims["jti"]]
