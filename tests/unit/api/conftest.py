"""An edge in the test process, with fake workers."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from api.limits.http import limited_http
from api.main import create_app
from api.settings import Settings
from api.streams import Streams
from tests.unit.api.fake_feed import FakeFeed
from tests.unit.api.fake_rpc import FakeRpc
from tests.unit.api.served import served


@dataclass(frozen=True, slots=True)
class App:
    """A running edge and its open event streams."""

    asgi: ASGIApp
    streams: Streams


#: Opens an edge with these settings, reachable over ASGI or HTTP.
OpenApp = Callable[..., AbstractAsyncContextManager[App]]
OpenEdge = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
#: Opens an edge on a real socket and yields its port, because the limits on bodies apply below ASGI.
ServeEdge = Callable[..., AbstractAsyncContextManager[int]]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Use the event loop of the real edge, so that transports pause and close as they do there."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove settings of the environment."""
    for name in os.environ:
        if name.startswith(("AUTH_", "AMQP_")):
            monkeypatch.delenv(name)


@pytest.fixture
def rpc() -> FakeRpc:
    return FakeRpc()


@pytest.fixture
def feed() -> FakeFeed:
    return FakeFeed()


@pytest.fixture
def open_app(rpc: FakeRpc, feed: FakeFeed) -> OpenApp:
    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[App]:
        app = create_app(Settings(amqp_url="amqp://broker.invalid", **settings), rpc, feed)
        async with app.router.lifespan_context(app) as state:
            assert state is not None

            async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
                await app({**scope, "state": dict(state)}, receive, send)

            yield App(with_state, state["streams"])

    return opened


@pytest.fixture
def open_edge(open_app: OpenApp) -> OpenEdge:
    @asynccontextmanager
    async def opened(client_host: str = "203.0.113.7", **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
        async with open_app(**settings) as app:
            transport = httpx.ASGITransport(app.asgi, client=(client_host, 50000))
            async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
                yield client

    return opened


@pytest.fixture
def serve_edge(open_app: OpenApp) -> ServeEdge:
    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[int]:
        values = Settings(amqp_url="amqp://broker.invalid", **settings)
        http = limited_http(values.max_body_bytes, values.body_seconds)
        async with open_app(**settings) as app, served(app.asgi, http) as port:
            yield port

    return opened


@pytest.fixture
async def edge(open_edge: OpenEdge) -> AsyncIterator[httpx.AsyncClient]:
    async with open_edge() as client:
        yield client
