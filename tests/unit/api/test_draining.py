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


async def test_draining_edge_is_not_ready_but_still_answers() -> None:
    """Load balancers send it no new requests; the remaining ones are answered."""
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


async def test_proxy_recognises_a_draining_edge_by_its_readiness_text() -> None:
    """An edge that only misses a worker answers differently; otherwise the proxy would remove all edges at once."""
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
