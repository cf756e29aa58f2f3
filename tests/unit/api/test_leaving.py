"""An edge that is about to stop."""

import asyncio
import re

import httpx

from api.main import create_app
from api.settings import Settings
from dev.processes import REPOSITORY
from tests.unit.api.fake_feed import FakeFeed
from tests.unit.api.fake_rpc import FakeRpc

PROXY = REPOSITORY / "deploy/haproxy/haproxy.cfg"


async def test_an_edge_that_leaves_is_not_ready_and_serves() -> None:
    """A load balancer sends it nothing new, and what comes all the same is answered."""
    leaving, rpc = asyncio.Event(), FakeRpc()
    app = create_app(Settings(amqp_url="amqp://broker.invalid"), rpc, FakeFeed(), leaving=leaving)
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        transport = httpx.ASGITransport(lambda scope, *rest: app({**scope, "state": dict(state)}, *rest))
        async with httpx.AsyncClient(transport=transport, base_url="http://edge") as edge:
            assert (await edge.get("/health/ready")).status_code == 200
            leaving.set()
            ready, live = await edge.get("/health/ready"), await edge.get("/health/live")
    assert (ready.status_code, ready.headers["Retry-After"], ready.json()["code"]) == (503, "1", "unavailable")
    assert live.status_code == 200


async def test_the_proxy_knows_an_edge_that_leaves_by_what_it_says() -> None:
    """And by nothing that one says which only misses a worker: of those it would take out all at once."""
    (words,) = re.findall(r'http-check expect ! string "(.+)"', PROXY.read_text())
    leaving, rpc = asyncio.Event(), FakeRpc()
    rpc.connected.clear()
    app = create_app(Settings(amqp_url="amqp://broker.invalid"), rpc, FakeFeed(), leaving=leaving)
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        transport = httpx.ASGITransport(lambda scope, *rest: app({**scope, "state": dict(state)}, *rest))
        async with httpx.AsyncClient(transport=transport, base_url="http://edge") as edge:
            cut_off = await edge.get("/health/ready")
            leaving.set()
            ready = await edge.get("/health/ready")
    assert cut_off.status_code == ready.status_code == 503
    assert words not in cut_off.text
    assert words in ready.text
