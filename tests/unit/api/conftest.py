"""The edge in this process, its workers faked."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from api.main import create_app
from api.settings import Settings
from tests.unit.api.fake_rpc import FakeRpc

#: Opens an edge with these settings.
OpenEdge = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


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
def open_edge(rpc: FakeRpc) -> OpenEdge:
    @asynccontextmanager
    async def opened(client_host: str = "203.0.113.7", **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
        app = create_app(Settings(amqp_url="amqp://broker.invalid", **settings), rpc)
        async with app.router.lifespan_context(app) as state:

            async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
                await app({**scope, "state": dict(state or {})}, receive, send)

            transport = httpx.ASGITransport(with_state, client=(client_host, 50000))
            async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
                yield client

    return opened


@pytest.fixture
async def edge(open_edge: OpenEdge) -> AsyncIterator[httpx.AsyncClient]:
    async with open_edge() as client:
        yield client
