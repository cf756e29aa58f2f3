"""The edge behind the shipped HAProxy configuration and behind nginx: clients cannot forge their address."""

import asyncio
import contextlib
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.certificates import make_authority, make_certificate
from dev.ports import accepts_connections, free_port
from dev.processes import REPOSITORY, ChildProcess, Service
from tests.unit.api.conftest import ServeEdge
from tests.unit.api.fake_rpc import Call, FakeRpc
from tests.unit.api.served import SECONDS, answers, dialed

SEARCH_PATH = os.environ.get("PATH", "") + ":/usr/sbin"
HAPROXY = shutil.which("haproxy", path=SEARCH_PATH)
NGINX = shutil.which("nginx", path=SEARCH_PATH)
needs_haproxy = pytest.mark.skipif(HAPROXY is None and "CI" not in os.environ, reason="HAProxy is not installed")
needs_nginx = pytest.mark.skipif(NGINX is None and "CI" not in os.environ, reason="nginx is not installed")

CONFIGURATION = REPOSITORY / "deploy/haproxy/haproxy.cfg"
#: The image is HAProxy 3.2. CI installs an older one, which refuses a file with an unknown option.
DROPS_TRAILERS_SINCE = (3, 2)
DROP_TRAILERS = "    option http-drop-request-trailers\n    option http-drop-response-trailers\n"

#: An address in the network that may register tenants. The attacker claims to have it.
FORGED = b"10.77.1.2"
REGISTRATION = b'{"email": "a@example.com", "password": "correct horse battery"}'
#: The configuration of nginx's page on WebSocket. Without buffering, nginx sends the body right after the headers.
NGINX_CONFIGURATION = """
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
  map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{edge};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_request_buffering off;
    }}
  }}
}}
"""


def haproxy_version() -> tuple[int, int]:
    assert HAPROXY is not None, "CI installs HAProxy"
    said = subprocess.run([HAPROXY, "-v"], capture_output=True, text=True, check=True).stdout  # noqa: S603 - HAProxy
    major, minor = re.findall(r"version (\d+)\.(\d+)", said)[0]
    return int(major), int(minor)


@contextlib.asynccontextmanager
async def running(argv: list[str], port: int, directory: Path) -> AsyncIterator[int]:
    process = ChildProcess(Service("proxy", argv, os.environ), directory / "logs")
    process.start()
    try:
        await process.wait_until(lambda: accepts_connections(port), SECONDS)
        yield port
    finally:
        await process.terminate()


@contextlib.asynccontextmanager
async def haproxy(edge: int, directory: Path, plain_port: int | None = None) -> AsyncIterator[int]:
    """Return the shipped configuration with the ports, certificate file and edge address of this test."""
    port = free_port()
    make_authority(directory)
    make_certificate(directory, "edge")
    text = CONFIGURATION.read_text()
    for shipped, here in (
        (":8443 ssl crt /run/secrets/edge-tls.pem", f"127.0.0.1:{port} ssl crt {directory}/edge.pem"),
        (":8080\n", f"127.0.0.1:{plain_port or free_port()}\n"),
        ("server-template edge 1-20 edge:8000", f"server edge 127.0.0.1:{edge}"),
        (DROP_TRAILERS, DROP_TRAILERS if haproxy_version() >= DROPS_TRAILERS_SINCE else ""),
    ):
        assert text.count(shipped) == 1, shipped
        text = text.replace(shipped, here)
    file = directory / "haproxy.cfg"
    file.write_text(text)
    async with running([str(HAPROXY), "-f", str(file)], port, directory):
        yield port


async def over_tls(port: int, said: bytes) -> bytes:
    """Send the bytes on a new connection and return the answer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        try:
            writer.write(said)
            return await reader.read()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()


def asked(rpc: FakeRpc) -> list[Call]:
    """Return the worker's requests, without those of the proxy's health checks."""
    return [call for call in rpc.calls if not call.operation.startswith("health.")]


def registration(trailer: bytes) -> bytes:
    return (
        b"POST /tenant HTTP/1.1\r\nHost: edge\r\nConnection: close\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n%s\r\n\r\n" % (len(REGISTRATION), REGISTRATION, trailer)
    )


@needs_haproxy
async def test_trailer_does_not_set_the_client_address(serve_edge: ServeEdge, rpc: FakeRpc, tmp_path: Path) -> None:
    """The edge sends the worker the address that the shipped proxy saw."""
    async with serve_edge() as edge, haproxy(edge, tmp_path) as port:
        for _ in range(20):
            answer = await over_tls(port, registration(b"X-Forwarded-For: " + FORGED))
            assert answer.startswith(b"HTTP/1.1 20"), answer
    assert [call.request["clientAddress"] for call in asked(rpc)] == ["127.0.0.1"] * 20


@needs_haproxy
@pytest.mark.parametrize("line", [b"POST /tenant", b"GET /auth/forward", b"GET /health/live", b"OPTIONS *"])
async def test_plain_http_is_refused_without_a_redirect(
    serve_edge: ServeEdge, rpc: FakeRpc, tmp_path: Path, line: bytes
) -> None:
    """A client that follows a redirect has already sent its secrets in clear text."""
    plain_port = free_port()
    said = (
        line + b" HTTP/1.1\r\nHost: edge\r\nConnection: close\r\nAuthorization: Bearer t\r\nContent-Length: 0\r\n\r\n"
    )
    async with serve_edge() as edge, haproxy(edge, tmp_path, plain_port), dialed(plain_port) as (reader, writer):
        writer.write(said)
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"location:" not in answer.lower()
    assert asked(rpc) == []


@needs_haproxy
async def test_trailer_does_not_evade_the_request_limit(serve_edge: ServeEdge, tmp_path: Path) -> None:
    """8 of 40 requests from one client are answered, although each has another address in a trailer."""
    async with serve_edge(request_limit=8, request_limit_seconds=3600) as edge, haproxy(edge, tmp_path) as port:
        trailers = [b"X-Forwarded-For: 198.51.100.%d" % number for number in range(40)]
        statuses = [(await over_tls(port, registration(trailer))).split(b" ")[1] for trailer in trailers]
    assert statuses.count(b"429") == 32


@needs_haproxy
async def test_trailer_with_a_token_does_not_authenticate(serve_edge: ServeEdge, rpc: FakeRpc, tmp_path: Path) -> None:
    """Signatures, logs and rules of a proxy do not see trailers."""
    said = registration(b"Authorization: Bearer tenant-token").replace(b"POST /tenant ", b"POST /user ")
    async with serve_edge() as edge, haproxy(edge, tmp_path) as port:
        assert (await over_tls(port, said)).startswith(b"HTTP/1.1 401")
    assert asked(rpc) == []


@needs_haproxy
async def test_shipped_proxy_drops_trailers(tmp_path: Path) -> None:
    """An application behind it could merge them into the headers. HAProxy has the option since 3.2."""
    if haproxy_version() < DROPS_TRAILERS_SINCE:
        pytest.skip(f"HAProxy {haproxy_version()} does not know the option; the image of compose does")
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = await reader.readuntil(b"\r\n\r\n")
        if b"chunked" in received:
            received += await reader.readuntil(b"\r\n0\r\n") + await reader.readuntil(b"\r\n")
            heard.append(received)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server, asyncio.timeout(SECONDS):
        edge = server.sockets[0].getsockname()[1]
        async with haproxy(edge, tmp_path) as port:
            answer = await over_tls(port, registration(b"X-Forwarded-For: " + FORGED))
    assert answer.startswith(b"HTTP/1.1 200")
    [received] = heard
    assert received.endswith(b"\r\n0\r\n\r\n")
    assert FORGED not in received


@needs_nginx
async def test_request_in_the_body_of_an_upgrade_is_read_as_body(
    serve_edge: ServeEdge, rpc: FakeRpc, tmp_path: Path
) -> None:
    """nginx passes the upgrade on to the edge."""
    assert NGINX is not None, "CI installs nginx"
    smuggled = (
        b"POST /tenant HTTP/1.1\r\nHost: edge\r\nX-Forwarded-For: %s\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (FORGED, len(REGISTRATION), REGISTRATION)
    )
    said = (
        b"POST /tenant/logout HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    async with serve_edge() as edge:
        port = free_port()
        file = tmp_path / "nginx.conf"
        file.write_text(NGINX_CONFIGURATION.format(directory=tmp_path, port=port, edge=edge))
        async with running([NGINX, "-c", str(file)], port, tmp_path), dialed(port) as (reader, writer):
            writer.write(said % len(smuggled))
            await asyncio.sleep(0.1)  # the edge has the headers by then
            writer.write(smuggled + b"GET /nowhere HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n")
            assert await answers(reader) == [400, 404]
    assert asked(rpc) == []


#: A POST of Java's HttpClient over plain HTTP.
JAVA = (
    b"POST /tenant/logout HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: 14\r\nHost: edge\r\n"
    b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\nUser-Agent: Java-http-client/21\r\n"
    b'Content-Type: application/json\r\n\r\n{"token": "t"}'
)


async def test_client_that_offers_http_2_is_served_over_http_1_1(serve_edge: ServeEdge, rpc: FakeRpc) -> None:
    """Its body arrives, and its connection stays open."""
    async with serve_edge() as port, dialed(port) as (reader, writer):
        writer.write(JAVA + JAVA + b"GET /nowhere HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n")
        assert await answers(reader) == [200, 200, 404]
    assert [call.request for call in asked(rpc)] == [{"token": "t"}] * 2
