"""The edge in this process, its workers faked."""

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
    """A running edge, and what it holds open."""

    asgi: ASGIApp
    streams: Streams


#: Opens an edge with these settings, to be spoken to as ASGI, or as HTTP.
OpenApp = Callable[..., AbstractAsyncContextManager[App]]
OpenEdge = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
#: Opens one on a real socket, and gives its port: what limits bodies lies below ASGI.
ServeEdge = Callable[..., AbstractAsyncContextManager[int]]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop of the edge as a process: how its transports pause and close is tested here."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings come from the test alone."""
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
