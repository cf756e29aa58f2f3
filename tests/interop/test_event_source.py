"""A browser's `EventSource` at `/events`, in headless Chromium."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from dev.ports import free_port
from dev.processes import POLL_SECONDS
from tests.backends import Backend
from tests.e2e.tenant import Tenant
from tests.integration.proxy import Proxy
from tests.interop.browser import opened_page
from tests.interop.programs import program
from tests.service import running_service

PATIENCE_SECONDS = 60
PAGE = """<!doctype html><script>
const source = new EventSource("/events");
const report = (text) => fetch("/report", {method: "POST", body: text});
source.onerror = () => report(`state ${source.readyState}`);
source.addEventListener("session.revoked", (event) => report(event.data));
</script>"""
#: `EventSource.CLOSED`: the browser does not reconnect.
CLOSED = "state 2"


class Site:
    """A page's own server: it adds the tenant token to requests for `/events`, and keeps what the page reports."""

    def __init__(self, edge: httpx.AsyncClient, tenant_token: str) -> None:
        self.reports: list[str] = []
        self.streamed = ""
        self._edge = edge
        self._headers = {"Authorization": f"Bearer {tenant_token}"}

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve on a port of the loopback address, and give the URL of the page."""
        routes = [
            Route("/", self._page),
            Route("/events", self._events),
            Route("/report", self._report, methods=["POST"]),
        ]
        config = uvicorn.Config(Starlette(routes=routes), port=free_port(), lifespan="off", log_config=None, ws="none")
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        try:
            yield f"http://127.0.0.1:{config.port}/"
        finally:
            for connection in server.server_state.connections:
                connection.transport.abort()
            server.force_exit = True
            await server.shutdown()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for the condition; fail if the browser has given up."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                assert CLOSED not in self.reports
                await asyncio.sleep(POLL_SECONDS)

    async def _page(self, _: Request) -> Response:
        return HTMLResponse(PAGE)

    async def _report(self, request: Request) -> Response:
        self.reports.append((await request.body()).decode())
        return Response()

    async def _events(self, request: Request) -> Response:
        passed = {name: value for name, value in request.headers.items() if name in {"accept", "last-event-id"}}
        asked = self._edge.build_request("GET", "/events", headers={**passed, **self._headers})
        answer = await self._edge.send(asked, stream=True)

        async def body() -> AsyncIterator[str]:
            try:
                async for text in answer.aiter_text():
                    self.streamed += text
                    yield text
            finally:
                await answer.aclose()

        return StreamingResponse(body(), answer.status_code, {"Content-Type": answer.headers["Content-Type"]})


async def cutting(proxy: Proxy) -> None:
    """Cut the connections through this proxy again and again, until cancelled."""
    while True:
        await proxy.cut()
        await asyncio.sleep(POLL_SECONDS)


async def test_event_source_of_a_browser_receives_what_was_revoked_during_an_outage(
    backend: Backend, tmp_path: Path
) -> None:
    """The edge loses its broker: the stream ends, later ones are deferred, and the browser keeps its position."""
    program("chromium-headless-shell")
    amqp_url = await backend.vhost()
    async with (
        Proxy(amqp_url) as proxy,
        running_service(
            tmp_path, amqp_url, backend.database_url(), edges=2, env_of={"api-0": {"AMQP_URL": proxy.url}}
        ) as service,
        httpx.AsyncClient(base_url=service.urls[0], timeout=PATIENCE_SECONDS) as http,
        httpx.AsyncClient(base_url=service.urls[1], timeout=PATIENCE_SECONDS) as elsewhere,
    ):
        tenant = await Tenant.register(elsewhere)
        await tenant.create("ann")
        token = await tenant.token_of("ann")
        session = (await tenant.verify(token)).json()["decoded"]["jti"]
        site = Site(http, tenant.token)
        async with site.serving() as url, opened_page(tmp_path / "browser") as page:
            await page.send("Page.navigate", url=url)
            await site.until(lambda: "id: " in site.streamed)
            outage = asyncio.create_task(cutting(proxy))
            await site.until(lambda: ": events are late: unavailable\n" in site.streamed)
            await tenant.logout(token)
            assert session not in site.streamed
            outage.cancel()
            await site.until(lambda: any(session in report for report in site.reports))
        event = next(json.loads(report) for report in site.reports if session in report)
        assert event["data"]["sessionId"] == session
        assert CLOSED not in site.reports
