"""HTTP methods on a raw socket: HEAD mirrors GET, unsupported methods answer 405, `/auth/forward` answers all."""

import asyncio
import logging
import re
from dataclasses import dataclass

import pytest

from api.main import create_app
from api.settings import Settings
from shared.contracts.auth_verify import AUTH_VERIFY
from shared.contracts.errors import Unavailable
from shared.contracts.event_list import EVENT_LIST
from shared.contracts.tenant_login import TENANT_LOGIN
from tests.unit.api.conftest import OpenApp, ServeEdge
from tests.unit.api.event_source import a_page
from tests.unit.api.fake_rpc import FakeRpc
from tests.unit.api.served import dialed, served

FORWARD = {"forward_email": "shop@example.com", "forward_password": "p"}
#: Methods that OpenAPI can describe, and two that it cannot.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "QUERY")
#: Headers that differ between two responses to the same request.
OWN = {b"date", b"x-request-id"}
TOKEN = b"Authorization: Bearer tenant-token\r\n"
PREFLIGHT = b"Origin: https://app.example\r\nAccess-Control-Request-Method: GET\r\n"


@dataclass(frozen=True)
class Answer:
    """The head of a response, and the bytes after it until the server closed the connection."""

    status: int
    headers: dict[bytes, bytes]
    rest: bytes


def documented_methods() -> dict[str, set[str]]:
    """Return the methods of each path of the OpenAPI document, with HEAD wherever there is GET."""
    document = create_app(Settings(amqp_url="amqp://broker.invalid")).openapi()
    paths = {path: {method.upper() for method in operations} for path, operations in document["paths"].items()}
    return {path: methods | ({"HEAD"} if "GET" in methods else set()) for path, methods in paths.items()}


DOCUMENTED = documented_methods()
GET_PATHS = sorted(path for path, methods in DOCUMENTED.items() if "GET" in methods)


def filled(template: str) -> str:
    return re.sub(r"\{\w+\}", "ada", template)


async def asked(port: int, method: str, path: str, headers: bytes = TOKEN, *, until_closed: bool = True) -> Answer:
    """Send a request that closes its connection, and return the response."""
    async with dialed(port) as (reader, writer):
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n".encode() + headers + b"\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        rest = await reader.read() if until_closed else b""
    status, *fields = head.strip().split(b"\r\n")
    named = [field.lower().split(b": ", 1) for field in fields]
    return Answer(int(status.split()[1]), {name: value for name, value in named if name not in OWN}, rest)


@pytest.fixture
def rpc() -> FakeRpc:
    rpc = FakeRpc()
    rpc.answers[EVENT_LIST.name] = a_page()
    return rpc


@pytest.mark.parametrize("path", [*GET_PATHS, "/", "/docs", "/openapi.json", "/nowhere"])
@pytest.mark.parametrize("headers", [TOKEN, b""], ids=["token", "no token"])
async def test_head_of_a_get_route_answers_the_head_of_get(serve_edge: ServeEdge, path: str, headers: bytes) -> None:
    async with serve_edge() as port:
        get = await asked(port, "GET", filled(path), headers, until_closed=path != "/events")
        head = await asked(port, "HEAD", filled(path), headers)
    # A stream says how its body is framed; a response without a body has no framing (RFC 9110, 9.3.2).
    framing = {b"transfer-encoding"}
    assert head.status == get.status
    assert {name: value for name, value in get.headers.items() if name not in framing} == head.headers
    assert head.rest == b""


async def test_head_on_a_kept_connection_leaves_no_body_before_the_next_response(serve_edge: ServeEdge) -> None:
    """Bytes of a body after HEAD would be read as the start of the next response."""
    async with serve_edge() as port, dialed(port) as (reader, writer):
        for path in ("/user", "/events", "/nowhere", "/tenant"):
            writer.write(b"HEAD %s HTTP/1.1\r\nHost: edge\r\n%s\r\n" % (path.encode(), TOKEN))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 "), head
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")


async def test_head_of_events_holds_no_stream_open(open_app: OpenApp) -> None:
    async with open_app() as app, served(app.asgi) as port, dialed(port) as (reader, writer):
        writer.write(b"HEAD /events HTTP/1.1\r\nHost: edge\r\n%s\r\n" % TOKEN)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        while app.streams.count:  # noqa: ASYNC110 - bounded by `dialed`
            await asyncio.sleep(0.01)


async def test_head_of_a_request_that_fails_unexpectedly_has_no_body(serve_edge: ServeEdge, rpc: FakeRpc) -> None:
    rpc.answers["user.list"] = RuntimeError("broken")
    async with serve_edge() as port:
        head = await asked(port, "HEAD", "/user")
    assert (head.status, head.headers[b"content-type"], head.rest) == (500, b"application/problem+json", b"")


@pytest.mark.parametrize("path", DOCUMENTED)
async def test_method_that_a_path_lacks_answers_405_with_allow(serve_edge: ServeEdge, rpc: FakeRpc, path: str) -> None:
    allowed = [method for method in METHODS if method in DOCUMENTED[path]]
    async with serve_edge() as port:
        for method in sorted({*METHODS} - {*allowed}):
            answer = await asked(port, method, filled(path))
            assert (answer.status, answer.headers[b"content-type"]) == (405, b"application/problem+json"), method
            assert answer.headers[b"allow"].decode().upper().split(", ") == allowed, method
            assert (b'"method_not_allowed"' in answer.rest) == (method != "HEAD")
    assert rpc.calls == []


APPENDED = (
    "",
    "/",
    "/page",
    "/a/b?c=d",
    "//a",
    "/..",
    "/../../health/live",
    "/%2e%2e/%2e%2e/health/live",
    "/a%2Fb%ff",
    "?q",
)


@pytest.mark.parametrize("appended", APPENDED)
@pytest.mark.parametrize("framed", [b"", b"Content-Length: 2\r\n\r\n{}"], ids=["no body", "body"])
async def test_forward_answers_every_method_and_appended_path(
    serve_edge: ServeEdge, rpc: FakeRpc, appended: str, framed: bytes
) -> None:
    """Envoy asks with the method of the request and appends its path; haproxy-auth-request keeps the method."""
    path, token = f"/auth/forward{appended}", b"Authorization: Bearer t\r\n"
    async with serve_edge(**FORWARD) as port:
        passed = {method: await asked(port, method, path, token + framed) for method in METHODS}
        without = {method: await asked(port, method, path, framed) for method in METHODS}
        rpc.answers[AUTH_VERIFY.name] = {"answers": [{"error": {"code": "invalid_token", "message": "revoked"}}]}
        revoked = {method: await asked(port, method, path, token + framed) for method in METHODS}
    for method in METHODS:
        assert (passed[method].status, passed[method].headers.get(b"x-auth-login")) == (200, b"ada"), method
        for refused in (without[method], revoked[method]):
            assert refused.status == 401, method
            assert refused.headers[b"www-authenticate"].startswith(b"bearer ")
            assert not [name for name in refused.headers if name.startswith(b"x-auth-")]


async def test_forward_while_the_service_is_away_answers_503(serve_edge: ServeEdge, rpc: FakeRpc) -> None:
    rpc.answers[TENANT_LOGIN.name] = Unavailable()
    async with serve_edge(**FORWARD) as port:
        for method in METHODS:
            assert (await asked(port, method, "/auth/forward/page", b"Authorization: Bearer t\r\n")).status == 503


@pytest.mark.parametrize("path", ["/auth/forward", "/auth/forward/page", "/auth/%66orward/page", "/auth/forward?a=b"])
async def test_preflight_of_an_allowed_origin_at_forward_is_refused_without_a_token(
    serve_edge: ServeEdge, path: str
) -> None:
    """A proxy that passes method and headers on would take the 200 to a preflight for a valid token."""
    async with serve_edge(**FORWARD, cors_origins=["https://app.example"]) as port:
        assert (await asked(port, "OPTIONS", path, PREFLIGHT)).status == 401
        assert (await asked(port, "OPTIONS", "/user", PREFLIGHT)).status == 200


@pytest.mark.parametrize("path", ["/auth/forwardx", "/auth%2Fforward", "/auth/forward%2Fx", "/x/auth/forward"])
async def test_path_that_only_resembles_forward_is_not_found(serve_edge: ServeEdge, path: str) -> None:
    async with serve_edge(**FORWARD) as port:
        assert (await asked(port, "GET", path, b"Authorization: Bearer t\r\n")).status == 404


@pytest.mark.parametrize("path", ["/auth/forward", "/auth/forward/page"])
async def test_forward_without_a_configured_tenant_is_not_found(serve_edge: ServeEdge, path: str) -> None:
    async with serve_edge() as port:
        for method in METHODS:
            assert (await asked(port, method, path)).status == 404


async def test_forward_below_its_path_is_sampled_in_the_log(
    serve_edge: ServeEdge, caplog: pytest.LogCaptureFixture
) -> None:
    """Envoy appends the path of each request of a product; the template in the log holds none of it."""
    caplog.set_level(logging.INFO, "api.middleware")
    async with serve_edge(**FORWARD, log_verify_sample=0) as port:
        for path in ("/auth/forward", "/auth/forward/page"):
            assert (await asked(port, "POST", path, b"Authorization: Bearer t\r\n")).status == 200
        assert caplog.records == []
        assert (await asked(port, "POST", "/auth/forward/page", b"")).status == 401
    assert [vars(record)["route"] for record in caplog.records] == ["/auth/forward/{appended:path}"]
