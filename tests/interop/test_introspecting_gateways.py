"""Gateways that others wrote and that introspect tokens, configured as docs/gateways.md says.

Each caches introspection answers unless told otherwise, so that it would accept a logged-out token.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
import pytest_asyncio

from deploy.certificates import make_self_signed
from dev.ports import LOOPBACK, accepts_connections, free_port
from dev.processes import REPOSITORY, ChildProcess, Service
from shared.contracts.api_key import api_key_id
from tests.e2e.tenant import Tenant
from tests.interop.programs import file, program
from tests.service import RunningService

PAGE = REPOSITORY / "docs/gateways.md"
START_TIMEOUT_SECONDS = 30
APACHE_MODULES = Path("/usr/lib/apache2/modules")
NGINX_MODULES = Path("/usr/lib/nginx/modules")
#: Where to find lua-resty-openidc and the modules that it needs. No package registry that CI reaches has it.
LUA_FOLDER = "LUA_RESTY_OPENIDC"

APACHE = """
ServerName localhost
ServerRoot {directory}
DefaultRuntimeDir {directory}
PidFile {directory}/apache.pid
ErrorLog /dev/stderr
Listen {address}
User www-data
Group www-data
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authn_core_module {modules}/mod_authn_core.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule authz_user_module {modules}/mod_authz_user.so
LoadModule headers_module {modules}/mod_headers.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
LoadModule ssl_module {modules}/mod_ssl.so
LoadModule {module} {modules}/{file}
<IfModule auth_openidc_module>
  OIDCCABundlePath {directory}/edge.pem
  # Without encryption, Debian 12's version stores no entry whose key, the token, is longer than 511 characters.
  OIDCCacheEncrypt On
  OIDCCryptoPassphrase a-passphrase-of-the-test
</IfModule>
Listen {tls}
<VirtualHost {tls}>
  SSLEngine on
  SSLCertificateFile {directory}/edge.pem
  ProxyPass / {edge}/
</VirtualHost>
<VirtualHost {address}>
{lines}
</VirtualHost>
"""
NGINX = """
daemon off;
pid {directory}/nginx.pid;
error_log stderr;
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
events {{}}
env GATEWAY_ID;
env GATEWAY_KEY;
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  lua_package_path "{lua}/?.lua;;";
  {lines}
}}
"""


@dataclass(frozen=True)
class Gateway:
    """A gateway of docs/gateways.md.

    - `module`: the module of the server that introspects.
    - `uncached`: its line against caching.
    - `without_exp`: the status after a logout if that line and `exp` are absent; None: it is undefined.
    """

    name: str
    module: str
    uncached: str
    without_exp: int | None

    def documented(self) -> str:
        """Return its lines in docs/gateways.md."""
        section = PAGE.read_text().partition(f"\n### {self.name}\n")[2]
        return section.partition("```")[2].partition("\n")[2].partition("```")[0]


OPENIDC = Gateway("Apache with mod_auth_openidc", "auth_openidc", "OIDCOAuthTokenIntrospectionInterval -1\n", None)
OAUTH2 = Gateway("Apache with mod_oauth2", "oauth2", "&expiry=0", 200)
LUA = Gateway("nginx or OpenResty with lua-resty-openidc", "http_lua", "introspection_cache_ignore = true,\n", 401)
gateways = pytest.mark.parametrize("gateway", [OPENIDC, OAUTH2, LUA], ids=lambda each: each.name)


@pytest_asyncio.fixture
async def application() -> AsyncIterator[str]:
    """A server behind the gateway that answers with the header lines that it receives."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(request)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + request)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, LOOPBACK, free_port()) as server:
        yield "{}:{}".format(*server.sockets[0].getsockname())


def _apache(module: str, lines: str, places: Mapping[str, object]) -> tuple[list[str], str]:
    """Return the command and the configuration of Apache, which also ends TLS for the edge at `tls`."""
    path = file(APACHE_MODULES / f"mod_{module}.so")
    more = {"modules": APACHE_MODULES, "module": f"{module}_module", "file": path.name}
    return [program("apache2"), "-D", "FOREGROUND", "-f"], APACHE.format(lines=lines, **more, **places)


def _nginx(lines: str, places: Mapping[str, object]) -> tuple[list[str], str]:
    lua = os.environ.get(LUA_FOLDER)
    if lua is None:
        pytest.skip(f"lua-resty-openidc is in none of the registries: install it and set {LUA_FOLDER} to its folder")
    file(NGINX_MODULES / "ngx_http_lua_module.so")
    lines = lines.replace("listen 80;", f"listen {places['address']};")
    return [program("nginx"), "-c"], NGINX.format(lines=lines, modules=NGINX_MODULES, lua=lua, **places)


def _prepare(directory: Path) -> None:
    """Make a certificate in the folder, which the server's own user reads, too."""
    make_self_signed(directory, "edge.pem", "localhost")
    directory.chmod(0o755)
    (directory / "edge.pem").chmod(0o644)


@asynccontextmanager
async def _running(
    gateway: Gateway, lines: str, edge: str, application: str, tenant: Tenant
) -> AsyncIterator[httpx.AsyncClient]:
    """Run a gateway with these lines in front of the application."""
    port, tls_port = free_port(), free_port()
    with TemporaryDirectory() as name:
        directory = Path(name)
        _prepare(directory)
        lines = lines.replace("https://auth.example", f"https://localhost:{tls_port}")
        lines = lines.replace("http://127.0.0.1:8000", edge).replace("127.0.0.1:9000", application)
        addresses = {"address": f"{LOOPBACK}:{port}", "tls": f"{LOOPBACK}:{tls_port}"}
        places = {"directory": directory, "edge": edge, **addresses}
        command, text = _nginx(lines, places) if gateway is LUA else _apache(gateway.module, lines, places)
        (directory / "gateway.conf").write_text(text)
        key = await tenant.key("tokens:verify")
        env = {**os.environ, "GATEWAY_ID": api_key_id(key) or "", "GATEWAY_KEY": key}
        process = ChildProcess(Service("gateway", [*command, str(directory / "gateway.conf")], env), directory)
        process.start()
        try:
            await process.wait_until(lambda: accepts_connections(port), START_TIMEOUT_SECONDS)
            async with httpx.AsyncClient(base_url=f"http://{LOOPBACK}:{port}", timeout=30) as client:
                yield client
        finally:
            await process.terminate()


async def _statuses(gateway: httpx.AsyncClient, tenant: Tenant) -> tuple[int, int]:
    """Return the gateway's answers to a token before and after its user logs out."""
    token = await tenant.token_of("ann")
    headers = {"Authorization": f"Bearer {token}"}
    before = (await gateway.get("/", headers=headers)).status_code
    assert (await tenant.logout(token)).status_code == 200
    return before, (await gateway.get("/", headers=headers)).status_code


@pytest_asyncio.fixture
async def ann(tenant: Tenant) -> Tenant:
    """The tenant with a user `ann`."""
    await tenant.create("ann", scope="read write")
    return tenant


@pytest.fixture
def default_lines(gateway: Gateway) -> str:
    """The lines of the page without the one against caching."""
    documented = gateway.documented()
    assert gateway.uncached in documented
    return documented.replace(gateway.uncached, "")


@gateways
async def test_gateway_as_documented_refuses_a_token_at_once_after_logout(
    gateway: Gateway, service: RunningService, application: str, ann: Tenant
) -> None:
    async with _running(gateway, gateway.documented(), service.urls[0], application, ann) as client:
        token = await ann.token_of("ann")
        forged = {"Remote-User": "admin", "X-Login": "admin", "X_Login": "admin"}
        passed = await client.get("/", headers={"Authorization": f"Bearer {token}", **forged})
        assert passed.status_code == 200
        assert re.findall(r"^X.Login: (.*)\r$", passed.text, re.MULTILINE | re.IGNORECASE) == ["ann"]
        for _ in range(3):
            assert await _statuses(client, ann) == (200, 401)
        for refused in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": f"Bearer {ann.token}"}):
            assert (await client.get("/", headers=refused)).status_code == 401


@gateways
async def test_gateway_passes_on_a_login_beyond_ascii_as_utf_8(
    gateway: Gateway, service: RunningService, application: str, tenant: Tenant
) -> None:
    await tenant.create("Ünï 100%")
    headers = {"Authorization": f"Bearer {await tenant.token_of('Ünï 100%')}"}
    async with _running(gateway, gateway.documented(), service.urls[0], application, tenant) as client:
        passed = await client.get("/", headers=headers)
        assert "\r\nX-Login: Ünï 100%\r\n".encode() in passed.content


@gateways
async def test_gateway_while_the_service_is_away_lets_no_request_pass(
    gateway: Gateway, application: str, ann: Tenant
) -> None:
    headers = {"Authorization": f"Bearer {await ann.token_of('ann')}"}
    async with _running(gateway, gateway.documented(), f"http://{LOOPBACK}:{free_port()}", application, ann) as client:
        assert (await client.get("/", headers=headers)).status_code == 401


@gateways
async def test_gateway_without_its_line_against_caching_accepts_a_logged_out_token(
    gateway: Gateway, default_lines: str, service: RunningService, application: str, ann: Tenant
) -> None:
    """So the line is needed. If this fails with a newer version of the gateway, the page can leave the line out."""
    async with _running(gateway, default_lines, service.urls[0], application, ann) as client:
        assert await _statuses(client, ann) == (200, 200)


@gateways
async def test_gateway_without_exp_in_answers_behaves_as_documented(
    gateway: Gateway, default_lines: str, service: RunningService, application: str, ann: Tenant
) -> None:
    """`AUTH_INTROSPECTION_EXP=false` at the second edge, and no line against caching at the gateway."""
    async with _running(gateway, default_lines, service.urls[1], application, ann) as client:
        before, after = await _statuses(client, ann)
        assert (before, after) == (200, after if gateway.without_exp is None else gateway.without_exp)


async def test_lua_resty_openidc_that_sends_its_secret_in_header_and_form_lets_a_live_token_pass(
    service: RunningService, application: str, ann: Tenant
) -> None:
    """With `client_secret_basic` it leaves the secret in the form, too."""
    twice = 'introspection_endpoint_auth_method = "client_secret_basic", client_id ='
    lines = LUA.documented().replace("client_id =", twice)
    assert twice in lines
    async with _running(LUA, lines, service.urls[0], application, ann) as client:
        assert await _statuses(client, ann) == (200, 401)
