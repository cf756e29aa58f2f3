"""Forward authentication with the gateways and the snippets of docs/gateways.md, as real programs."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from dev.ports import accepts_connections, free_port
from dev.processes import ChildProcess
from dev.services import api_service
from tests.backends import Backend
from tests.e2e.tenant import PASSWORD, Tenant
from tests.interop.gateways import (
    APPLICATION_PORT,
    COOKIE_NGINX,
    EDGE_PORT,
    GATEWAYS,
    ORIGIN,
    Application,
    Gateway,
    running,
)
from tests.service import RunningService, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENCE_SECONDS = 30
CLAIMS = ("User", "Login", "Sub", "Tenant", "Scope", "Device", "Session")
#: Other spellings of `X-Auth-`, some of which CGI and WSGI take for it.
SPELLINGS = ("X-Auth-", "x-auth-", "X_Auth_", "X-Auth_", "X_Auth-", "x_auth_", "X_AUTH_")
#: Characters that a header's name may have besides letters and digits (RFC 9110, 5.6.2).
SEPARATORS = "!#$%&'*+-.^_`|~"
#: The longest header that a scope can become: each character is escaped as three.
LARGEST_SCOPE = "%" * 4_094
UPGRADE = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
REFUSED = (500, 502, 503)


@dataclass(frozen=True)
class Setup:
    """A gateway between an edge and an application, with clients of both."""

    gateway: Gateway
    address: str
    application: Application
    client: httpx.AsyncClient
    tenant: Tenant

    async def token(self, login: str, **attributes: object) -> str:
        assert (await self.tenant.create(login, **attributes)).is_success
        return await self.tenant.token_of(login)

    async def get(self, token: str | None, path: str = "/page", **headers: str) -> httpx.Response:
        return await self.client.get(path, headers={**bearer(token), **headers})


def bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token is not None else {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningService]:
    directory = tmp_path_factory.mktemp("service")
    async with running_service(directory, await backend.vhost(), backend.database_url()) as running_:
        yield running_


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tenant(service: RunningService) -> AsyncIterator[Tenant]:
    async with httpx.AsyncClient(base_url=service.urls[0], timeout=PATIENCE_SECONDS) as http:
        yield await Tenant.register(http)


async def edge(directory: Path, amqp_url: str, tenant: Tenant, name: str) -> tuple[ChildProcess, int]:
    """Start an edge that accepts tokens of this tenant's users at `/auth/forward`."""
    port = free_port()
    env = {"AUTH_FORWARD_EMAIL": tenant.email, "AUTH_FORWARD_PASSWORD": PASSWORD}
    process = ChildProcess(api_service(port, amqp_url=amqp_url, name=name, env=env), directory)
    process.start()
    await process.wait_until(lambda: accepts_connections(port), PATIENCE_SECONDS)
    return process, port


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge_port(
    service: RunningService, tenant: Tenant, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[int]:
    process, port = await edge(tmp_path_factory.mktemp("edge"), service.amqp_url, tenant, "edge")
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS) as http:

            async def is_ready() -> bool:
                return (await http.get("/health/ready")).is_success

            await process.wait_until(is_ready, PATIENCE_SECONDS)
        yield port
    finally:
        await process.terminate()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge_without_broker(tenant: Tenant, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[int]:
    nowhere = f"amqp://127.0.0.1:{free_port()}"
    process, port = await edge(tmp_path_factory.mktemp("alone"), nowhere, tenant, "edge-without-broker")
    try:
        yield port
    finally:
        await process.terminate()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def application() -> AsyncIterator[tuple[Application, int]]:
    application = Application()
    async with application.serving() as port:
        yield application, port


@pytest.fixture(scope="module", params=GATEWAYS, ids=lambda gateway: gateway.name)
def gateway(request: pytest.FixtureRequest) -> Gateway:
    chosen: Gateway = request.param
    return chosen


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def setup(
    gateway: Gateway,
    edge_port: int,
    tenant: Tenant,
    application: tuple[Application, int],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Setup]:
    behind, port = application
    directory = tmp_path_factory.mktemp(gateway.name) / "etc"
    async with (
        running(gateway, directory, {EDGE_PORT: edge_port, APPLICATION_PORT: port}) as address,
        httpx.AsyncClient(base_url=f"http://{address}", timeout=PATIENCE_SECONDS) as client,
    ):
        yield Setup(gateway, address, behind, client, tenant)


@pytest.fixture(autouse=True)
def _no_earlier_requests(application: tuple[Application, int]) -> None:
    application[0].requests.clear()


async def raw_status(address: str, target: str, headers: str = "", connection: str = "close") -> int:
    """Return the status of a request whose target is sent as it stands."""
    host, _, port = address.partition(":")
    async with asyncio.timeout(PATIENCE_SECONDS):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"GET {target} HTTP/1.1\r\nHost: app.example\r\nConnection: {connection}\r\n{headers}\r\n".encode()
        )
        line = await reader.readline()
        writer.close()
    return int(line.split()[1])


async def test_gateway_without_live_token_answers_401(setup: Setup) -> None:
    for token in (None, "nonsense", setup.tenant.token):
        answer = await setup.get(token)
        assert (answer.status_code, answer.headers["WWW-Authenticate"][:6]) == (401, "Bearer"), token
    for method in ("POST", "HEAD", "PUT", "DELETE", "OPTIONS"):
        assert (await setup.client.request(method, "/page")).status_code == 401, method
    assert setup.application.requests == []


async def test_gateway_with_path_that_leaves_the_edges_route_lets_nothing_pass(setup: Setup) -> None:
    """Envoy appends the path to `/auth/forward`; a path must not lead to a route that answers 200 to everybody."""
    targets = ("/../health/live", "/../../health/live", "/%2e%2e/%2e%2e/health/live", "/..%2f..%2fhealth/live")
    for target in (
        *targets,
        "//health/live",
        "/a/../../../health/live",
        "/health/live",
        "http://app.example/health/live",
    ):
        assert 400 <= await raw_status(setup.address, target) < 500, target
    assert setup.application.requests == []


async def test_gateway_with_live_token_passes_its_claims_and_no_others(setup: Setup) -> None:
    login = f"Ünï / 100% {setup.gateway.name}"
    user = (await setup.tenant.create(login, sub=" s 1 ")).json()
    token = await setup.tenant.token_of(login)
    claims = (await setup.tenant.verify(token)).json()["decoded"]
    forged = [(spelling + name, "admin") for spelling in SPELLINGS for name in CLAIMS]
    answer = await setup.client.get("/page?a=b", headers=[*bearer(token).items(), *forged])
    assert (answer.status_code, answer.text) == (200, "the application")
    [received] = setup.application.requests
    assert received.target == "/page?a=b"
    assert {name: value for name, value in received.claims().items() if value} == {
        "x-auth-user": user["id"],
        "x-auth-login": f"%C3%9Cn%C3%AF / 100%25 {setup.gateway.name}",
        "x-auth-sub": "%20s 1%20",
        "x-auth-tenant": setup.tenant.id,
        "x-auth-device": "phone",
        "x-auth-session": claims["jti"],
    }


async def test_gateway_with_any_separator_in_a_claims_name_passes_the_claims_only(setup: Setup) -> None:
    """A server may take `X.Auth.Login` for `X-Auth-Login`, as WSGI takes `X_Auth_Login` for it."""
    login = f"separators-{setup.gateway.name}"
    token = await setup.token(login)
    prefixes = ("X{0}Auth{0}", "X-Auth{0}", "X{0}Auth-")
    for separator in SEPARATORS:
        spelt = {prefix.format(separator) + name: "admin" for prefix in prefixes for name in CLAIMS}
        assert (await setup.get(token, **spelt)).status_code == 200, separator
        claims = setup.application.requests[-1].claims()
        assert (claims["x-auth-login"], "admin" in claims.values()) == (login, False), separator


async def test_gateway_with_claims_named_in_connection_passes_all_claims_or_nothing(setup: Setup) -> None:
    """A proxy removes the headers that `Connection` names (RFC 9110, 7.6.1), in Caddy after it has set them."""
    token = await setup.token(f"connection-{setup.gateway.name}", scope="all")
    authorization = f"Authorization: Bearer {token}\r\n"
    named = [[f"X-Auth-{name}"] for name in CLAIMS] + [[f"x-auth-{name.lower()}" for name in CLAIMS]]
    for names in named:
        listed = ", ".join(names)
        page = await raw_status(setup.address, "/page", authorization, connection=f"close, {listed}")
        opened = await raw_status(setup.address, "/socket", authorization + UPGRADE, connection=f"Upgrade, {listed}")
        assert (page, opened) in {(200, 101), (400, 400)}, names
        passed = setup.application.requests
        assert len(passed) == (2 if page == 200 else 0)
        for received in passed:
            assert set(received.claims()) == {f"x-auth-{name.lower()}" for name in CLAIMS}, names
        passed.clear()


async def test_gateway_with_two_authorization_headers_passes_no_unchecked_one(setup: Setup) -> None:
    """The application might read the other one. Envoy drops an empty header and passes the live token alone."""
    token = await setup.token(f"two-{setup.gateway.name}")
    live = f"Authorization: Bearer {token}\r\n"
    for other in ("Authorization: Bearer nonsense\r\n", "Authorization: Basic YTpi\r\n", "Authorization: \r\n", live):
        for headers in (live + other, other + live):
            status = await raw_status(setup.address, "/page", headers)
            passed = [value for each in setup.application.requests for value in each.values("authorization")]
            assert (status, passed) in [(400, []), (401, []), (200, [f"Bearer {token}"])], other
            assert status != 200 or other == "Authorization: \r\n"
            setup.application.requests.clear()


async def test_gateway_after_logout_answers_401(setup: Setup) -> None:
    token = await setup.token(f"leaving-{setup.gateway.name}")
    assert (await setup.get(token)).status_code == 200
    assert (await setup.tenant.logout(token)).is_success
    assert (await setup.get(token)).status_code == 401


async def test_gateway_with_the_largest_scope_passes_it(setup: Setup) -> None:
    token = await setup.token(f"scope-{setup.gateway.name}", scope=LARGEST_SCOPE)
    assert (await setup.get(token)).status_code == 200
    [received] = setup.application.requests
    assert received.claims()["x-auth-scope"] == LARGEST_SCOPE.replace("%", "%25")


async def test_gateway_passes_method_and_body(setup: Setup) -> None:
    token = await setup.token(f"posting-{setup.gateway.name}")
    body = b"0123456789" * 20_000

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 50_000):
            yield body[start : start + 50_000]

    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for content in (body, chunks()):
            answer = await setup.client.request(method, "/page", content=content, headers=bearer(token))
            assert answer.status_code == 200, method
    assert [(each.method, each.body) for each in setup.application.requests] == [
        (method, body) for method in ("POST", "PUT", "PATCH", "DELETE") for _ in range(2)
    ]
    for method in ("HEAD", "OPTIONS"):
        assert (await setup.client.request(method, "/page", headers=bearer(token))).status_code == 200, method
        assert setup.application.requests[-1].method == method


async def test_gateway_opens_a_websocket_with_live_token_only(setup: Setup) -> None:
    token = await setup.token(f"socket-{setup.gateway.name}")
    url = f"ws://{setup.address}/socket"
    forged = {"X-Auth-Login": "admin", "X_Auth_Login": "admin"}
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with connect(url, additional_headers={**bearer(token), **forged}, proxy=None) as socket:
            for message in ("one", "two"):
                await socket.send(message)
                assert await socket.recv() == message
        [received] = setup.application.requests
        assert received.claims()["x-auth-login"] == f"socket-{setup.gateway.name}"
        await setup.tenant.logout(token)
        for refused in (token, "nonsense"):
            with pytest.raises(InvalidStatus) as raised:
                await connect(url, additional_headers=bearer(refused), proxy=None)
            assert raised.value.response.status_code == 401
    assert len(setup.application.requests) == 1


async def test_gateway_while_the_service_is_away_refuses(
    gateway: Gateway, application: tuple[Application, int], edge_without_broker: int, tmp_path: Path
) -> None:
    """No edge listens, or the edge has no broker: no request passes, whatever its token."""
    behind, port = application
    for name, edge_port in (("no edge", free_port()), ("no broker", edge_without_broker)):
        ports = {EDGE_PORT: edge_port, APPLICATION_PORT: port}
        async with (
            running(gateway, tmp_path / name.replace(" ", "-"), ports) as address,
            httpx.AsyncClient(base_url=f"http://{address}", timeout=PATIENCE_SECONDS) as client,
        ):
            for method in ("GET", "POST"):
                answer = await client.request(method, "/page", headers=bearer("a token"))
                assert answer.status_code in REFUSED, name
    assert behind.requests == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cookie_setup(
    edge_port: int, tenant: Tenant, application: tuple[Application, int], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Setup]:
    behind, port = application
    directory = tmp_path_factory.mktemp("cookie") / "etc"
    async with (
        running(COOKIE_NGINX, directory, {EDGE_PORT: edge_port, APPLICATION_PORT: port}) as address,
        httpx.AsyncClient(base_url=f"http://{address}", timeout=PATIENCE_SECONDS) as client,
    ):
        yield Setup(COOKIE_NGINX, address, behind, client, tenant)


def cookie(token: str) -> dict[str, str]:
    return {"Cookie": f"theme=dark; __Host-token={token}; x__Host-token=other"}


async def test_cookie_gateway_with_live_token_serves_a_page_until_logout(cookie_setup: Setup) -> None:
    token = await cookie_setup.token("cookie-page")
    get = cookie_setup.client.get
    forged = {"X-Auth-Login": "admin", "Authorization": "Bearer unchecked"}
    answer = await get("/page", headers={**cookie(token), **forged})
    assert answer.status_code == 200
    received = cookie_setup.application.requests[-1]
    assert received.claims()["x-auth-login"] == "cookie-page"
    assert received.values("authorization") == []
    for refused in ({}, cookie("nonsense"), {"Cookie": f"token={token}"}, {"Cookie": f"x__Host-token={token}"}):
        assert (await get("/page", headers=refused)).status_code == 401, refused
    assert (await get("/page", headers=bearer(token))).status_code == 401
    await cookie_setup.tenant.logout(token)
    assert (await get("/page", headers=cookie(token))).status_code == 401


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://app.example",
        "https://app.example.evil.example",
        "https://evil.example/https://app.example",
        "https://appXexample",
        "https://app.example:8443",
        "https://evil.example https://app.example",
        "https://app.example, https://evil.example",
    ],
)
async def test_cookie_gateway_with_another_origin_refuses(cookie_setup: Setup, origin: str) -> None:
    """A page of another site can make a browser send its user's cookie (cross-site WebSocket hijacking, CSRF)."""
    token = await cookie_setup.token(f"cookie-{origin}"[:60])
    headers = {**cookie(token), "Origin": origin}
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        assert (await cookie_setup.client.request(method, "/page", headers=headers)).status_code == 403, method
    with pytest.raises(InvalidStatus) as raised:
        await connect(f"ws://{cookie_setup.address}/socket", additional_headers=headers, proxy=None)
    assert raised.value.response.status_code == 403
    assert cookie_setup.application.requests == []


async def test_cookie_gateway_without_origin_refuses_changes_and_websockets(cookie_setup: Setup) -> None:
    """Browsers name the origin of every request that may change something, and of every WebSocket."""
    token = await cookie_setup.token("cookie-no-origin")
    for method in ("POST", "DELETE", "PATCH"):
        assert (await cookie_setup.client.request(method, "/page", headers=cookie(token))).status_code == 403, method
    with pytest.raises(InvalidStatus) as raised:
        await connect(f"ws://{cookie_setup.address}/socket", additional_headers=cookie(token), proxy=None)
    assert raised.value.response.status_code == 403
    assert cookie_setup.application.requests == []


async def test_cookie_gateway_with_its_own_origin_passes_changes_and_websockets(cookie_setup: Setup) -> None:
    token = await cookie_setup.token("cookie-own-origin")
    headers = {**cookie(token), "Origin": ORIGIN}
    answer = await cookie_setup.client.post("/page", content=b"changed", headers=headers)
    assert (answer.status_code, cookie_setup.application.requests[-1].body) == (200, b"changed")
    async with connect(f"ws://{cookie_setup.address}/socket", additional_headers=headers, proxy=None) as socket:
        await socket.send("one")
        assert await socket.recv() == "one"
    assert cookie_setup.application.requests[-1].claims()["x-auth-login"] == "cookie-own-origin"
