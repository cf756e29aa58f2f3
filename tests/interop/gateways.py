"""The gateways of docs/gateways.md as processes, and the application behind them."""

import contextlib
import os
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from dev.ports import free_port
from dev.processes import ChildProcess, Service
from tests.interop.programs import program
from tests.interop.snippets import snippets, written

START_TIMEOUT_SECONDS = 30
#: Answer of Traefik before it has read its routes.
NO_ROUTE = 404
EDGE_PORT, APPLICATION_PORT, GATEWAY_PORT = 8000, 9000, 8080
#: Origin of the documented application.
ORIGIN = "https://app.example"
#: As root, nginx would give its temporary files to a user that cannot enter the test's directory.
NGINX_CONFIGURATION = """
user root;
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
  include {directory}/*.conf;
}}
"""


@dataclass(frozen=True)
class Gateway:
    """A program, its arguments with `{directory}` for its configuration, and the section that configures it."""

    name: str
    section: str
    arguments: Sequence[str]
    in_ci: bool = False

    def files(self) -> dict[str, str]:
        """Return the configuration by path, as the page shows it."""
        return snippets(self.section)


class Nginx(Gateway):
    """nginx. The page shows files for its `conf.d`, which a main configuration includes."""

    def files(self) -> dict[str, str]:
        """Return a main configuration and the files that it includes."""
        return {"/etc/nginx/nginx.main": NGINX_CONFIGURATION.format(directory="/etc/nginx"), **self.documented()}

    def documented(self) -> dict[str, str]:
        """Return the configuration by path, as the page shows it."""
        return snippets(self.section)


class CookieNginx(Nginx):
    """nginx with the lines for a cookie added where the page says."""

    def documented(self) -> dict[str, str]:
        """Return the two files with the additional lines in their places."""
        (path, text), *_ = snippets("nginx").items()
        added = snippets(self.section)
        for place in ("location = /_auth", "location /"):
            opening = f"{place} {{\n"
            assert text.count(opening) == 1
            text = text.replace(opening, opening + added.pop(f"in {place}"))
        return {**added, path: text}


NGINX = ["-c", "{directory}/nginx.main"]
GATEWAYS = [
    Nginx("nginx", "nginx", NGINX, in_ci=True),
    Gateway("haproxy", "HAProxy", ["-db", "-f", "{directory}/haproxy.cfg"], in_ci=True),
    Gateway("caddy", "Caddy", ["run", "--config", "{directory}/Caddyfile", "--adapter", "caddyfile"]),
    Gateway(
        "envoy",
        "Envoy",
        ["-c", "{directory}/envoy.yaml", "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"],
    ),
    Gateway("traefik", "Traefik", ["--configFile={directory}/traefik.yaml"]),
]
COOKIE_NGINX = CookieNginx("nginx", "nginx with the token in a cookie", NGINX, in_ci=True)


@contextlib.asynccontextmanager
async def running(gateway: Gateway, directory: Path, ports: Mapping[int, int]) -> AsyncIterator[str]:
    """Run the gateway between these ports of an edge and an application. Gives its address, host and port."""
    path = program(gateway.name, in_ci=gateway.in_ci)
    port = free_port()
    written(gateway.files(), directory, {**ports, GATEWAY_PORT: port})
    arguments = [each.format(directory=directory) for each in gateway.arguments]
    env = {**os.environ, "HOME": str(directory), "XDG_CONFIG_HOME": str(directory), "XDG_DATA_HOME": str(directory)}
    process = ChildProcess(Service(gateway.name, [path, *arguments], env), directory / "logs")

    async def is_configured() -> bool:
        try:
            async with httpx.AsyncClient(timeout=START_TIMEOUT_SECONDS) as client:
                return (await client.get(f"http://127.0.0.1:{port}/")).status_code != NO_ROUTE
        except httpx.TransportError:
            return False

    process.start()
    try:
        await process.wait_until(is_configured, START_TIMEOUT_SECONDS)
        yield f"127.0.0.1:{port}"
    finally:
        await process.terminate()


@dataclass(frozen=True)
class Received:
    """A request as the application received it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def values(self, name: str) -> list[str]:
        """Return the values of this header, whose name is in lower case."""
        return [value for each, value in self.headers if each == name]

    def claims(self) -> dict[str, str]:
        """Return every header that an application may take for a claim.

        Some CGI servers replace every character but letters and digits by `_`.
        """
        named = [(re.sub("[^a-z0-9]", "-", name), value) for name, value in self.headers]
        claims = [(name, value) for name, value in named if name.startswith("x-auth-")]
        assert len(claims) == len(dict(claims)), claims
        return dict(claims)


class Application:
    """Records each request and answers 200; echoes the messages of WebSockets."""

    def __init__(self) -> None:
        self.requests: list[Received] = []

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """Serve on a port of the loopback address."""
        routes = [WebSocketRoute("/{path:path}", self._web_socket), Route("/{path:path}", _Any(self))]
        config = uvicorn.Config(
            Starlette(routes=routes), port=free_port(), lifespan="off", log_config=None, ws="websockets-sansio"
        )
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        try:
            yield config.port
        finally:
            server.force_exit = True
            await server.shutdown()

    async def _web_socket(self, socket: WebSocket) -> None:
        self.requests.append(_received("GET", socket))
        await socket.accept()
        async for text in socket.iter_text():
            await socket.send_text(text)


class _Any:
    """ASGI endpoint of every method."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        received = _received(request.method, request, await request.body())
        self._application.requests.append(received)
        await Response("the application")(scope, receive, send)


def _received(method: str, connection: Request | WebSocket, body: bytes = b"") -> Received:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in connection.scope["headers"]]
    query = connection.scope["query_string"]
    target = connection.scope["raw_path"] + (b"?" + query if query else b"")
    return Received(method, target.decode("latin-1"), headers, body)
