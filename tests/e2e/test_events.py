"""Event streams of the running service."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aio_pika
import httpx
import pytest_asyncio

from api.examples import REVOCATION
from dev.ports import free_port
from dev.processes import POLL_SECONDS, ChildProcess
from dev.services import api_service
from shared.contracts.events import SessionRevokedEvent
from shared.contracts.wire import MAX_NAME_CHARS
from tests.e2e.tenant import Tenant
from tests.event_stream import Block, sessions_of
from tests.integration.proxy import Proxy
from tests.service import RunningService

#: Ends a test that would otherwise wait forever.
PATIENCE_SECONDS = 30
#: Concurrent streams of one edge. Each takes a few milliseconds to open.
STREAMS = 200


class Stream:
    """A client of an event stream."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.last_id = ""

    async def next(self) -> Block | None:
        """Return the next block, or None at a clean end of the stream."""
        lines: list[str] = []
        async for line in self._lines:
            if not line:
                block = Block.parse("\n".join(lines))
                self.last_id = block.id or self.last_id
                return block
            lines.append(line)
        assert not lines
        return None

    async def next_event(self) -> SessionRevokedEvent:
        """Return the next event."""
        while block := await self.next():
            if block.data is not None:
                return SessionRevokedEvent.model_validate_json(block.data)
        raise AssertionError("the stream ended")

    async def rest(self) -> list[Block]:
        """Return all blocks until the stream ends."""
        blocks = []
        while block := await self.next():
            blocks.append(block)
        return blocks


@contextlib.asynccontextmanager
async def streaming(tenant: Tenant, last_event_id: str = "") -> AsyncIterator[Stream]:
    """Open a stream of the tenant's events; retry while the edge answers 503."""
    headers = {"Authorization": f"Bearer {tenant.token}", "Last-Event-ID": last_event_id}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        async with tenant.http.stream("GET", "/events", headers=headers) as response:
            if response.status_code == 503 and time.monotonic() < deadline:
                await asyncio.sleep(POLL_SECONDS)
                continue
            assert response.status_code == 200, await response.aread()
            stream = Stream(response)
            assert await stream.next()
            yield stream
            return


@pytest_asyncio.fixture
async def elsewhere(service: RunningService, tenant: Tenant) -> AsyncIterator[Tenant]:
    """The same tenant at the other edge."""
    async with httpx.AsyncClient(base_url=service.urls[1], timeout=PATIENCE_SECONDS) as http:
        yield tenant.through(http)


@contextlib.asynccontextmanager
async def own_edge(directory: Path, amqp_url: str, **env: str) -> AsyncIterator[tuple[ChildProcess, httpx.AsyncClient]]:
    """An additional edge for one test."""
    port = free_port()
    edge = ChildProcess(api_service(port, amqp_url=amqp_url, name="api-own", env=env), directory)
    limits = httpx.Limits(max_connections=STREAMS + 10)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS, limits=limits) as http:

        async def is_live() -> bool:
            try:
                return (await http.get("/health/live")).is_success
            except httpx.TransportError:
                return False

        edge.start()
        try:
            await edge.wait_until(is_live, PATIENCE_SECONDS)
            yield edge, http
        finally:
            await edge.terminate()


async def session_of(tenant: Tenant, token: str) -> str:
    return str((await tenant.verify(token)).json()["decoded"]["jti"])


async def test_logout_is_streamed_by_every_edge(tenant: Tenant, elsewhere: Tenant) -> None:
    user = (await tenant.create("ann")).json()
    token = await tenant.token_of("ann")
    session = await session_of(tenant, token)
    async with streaming(tenant) as here, streaming(elsewhere) as there:
        assert (await tenant.logout(token)).status_code == 200
        for stream in (here, there):
            event = await stream.next_event()
            assert (event.data.session_id, event.data.user, event.data.reason) == (session, user["id"], "logout")


async def test_reconnecting_client_gets_missed_events_first_at_any_edge(tenant: Tenant, elsewhere: Tenant) -> None:
    await tenant.create("ann")
    tokens = [await tenant.token_of("ann", device=str(number)) for number in range(4)]
    sessions = [await session_of(tenant, token) for token in tokens]
    async with streaming(tenant) as stream:
        await tenant.logout(tokens[0])
        assert (await stream.next_event()).data.session_id == sessions[0]
        last_id = stream.last_id
    for token in tokens[1:3]:
        await tenant.logout(token)
    async with streaming(elsewhere, last_id) as stream:
        announced = {(await stream.next_event()).data.session_id for _ in range(3)}
        assert announced == set(sessions[:3]), "the first is repeated: it is younger than two minutes"
        await tenant.logout(tokens[3])
        assert (await stream.next_event()).data.session_id == sessions[3]


async def test_stream_has_only_events_of_its_tenant(http: httpx.AsyncClient, tenant: Tenant) -> None:
    other = await Tenant.register(http)
    sessions: dict[str, list[str]] = {}
    for each in (tenant, other):
        await each.create("ann")
    async with streaming(tenant) as mine, streaming(other) as theirs:
        for each in (tenant, other, tenant):
            token = await each.token_of("ann")
            sessions.setdefault(each.id, []).append(await session_of(each, token))
            await each.logout(token)
        assert [(await mine.next_event()).data.session_id for _ in range(2)] == sessions[tenant.id]
        assert [(await theirs.next_event()).data.session_id] == sessions[other.id]
    async with streaming(other, "0") as past:
        assert [(await past.next_event()).data.session_id] == sessions[other.id]
        await other.http.post("/tenant/logout", json={"token": other.token})
        (own, end) = await past.rest()
        assert sessions_of([own]) != sessions[other.id]
        assert end.comment


async def test_stream_ends_when_the_tenant_session_ends(tenant: Tenant, elsewhere: Tenant) -> None:
    """The token opens no further stream."""
    async with streaming(tenant) as stream:
        assert (await elsewhere.http.post("/tenant/logout", json={"token": tenant.token})).status_code == 200
        event, end = [block for block in await stream.rest() if block.data or block.comment]
    assert event.data is not None
    assert SessionRevokedEvent.model_validate_json(event.data).data.user is None
    assert end.comment == "the credential was revoked"
    assert (await tenant.call("GET", "/events")).status_code == 401


async def test_stream_ends_when_its_edge_loses_the_broker_and_resumes_without_loss(
    service: RunningService, tenant: Tenant, tmp_path: Path
) -> None:
    await tenant.create("ann")
    tokens = [await tenant.token_of("ann", device=str(number)) for number in range(2)]
    sessions = [await session_of(tenant, token) for token in tokens]
    async with Proxy(service.amqp_url) as proxy, own_edge(tmp_path, proxy.url) as (_, http):
        async with streaming(tenant.through(http)) as stream:
            await tenant.logout(tokens[0])
            assert (await stream.next_event()).data.session_id == sessions[0]
            await proxy.cut()
            await tenant.logout(tokens[1])
            assert (await stream.rest())[-1].comment == "events may have been missed"
        async with streaming(tenant.through(http), stream.last_id) as again:
            assert {(await again.next_event()).data.session_id for _ in range(2)} == set(sessions)


async def test_stopping_edge_ends_its_streams_within_the_grace(
    service: RunningService, tenant: Tenant, tmp_path: Path
) -> None:
    await tenant.create("ann")
    token = await tenant.token_of("ann")
    session = await session_of(tenant, token)
    grace = {"AUTH_SHUTDOWN_GRACE_SECONDS": str(10 * PATIENCE_SECONDS)}
    async with own_edge(tmp_path, service.amqp_url, **grace) as (edge, http), contextlib.AsyncExitStack() as stack:
        there = tenant.through(http)
        streams = [await stack.enter_async_context(streaming(there)) for _ in range(STREAMS)]
        await tenant.logout(token)
        for stream in streams:
            assert (await stream.next_event()).data.session_id == session
        os.kill(edge.pid, signal.SIGTERM)
        assert await asyncio.wait_for(edge.wait(), PATIENCE_SECONDS) == 0
        for stream in streams:
            assert (await stream.rest())[-1] == Block(comment="this edge is stopping")
        assert "Traceback" not in edge.tail(1_000_000)


async def test_slow_reader_is_disconnected_and_others_get_every_event(
    service: RunningService, tenant: Tenant, tmp_path: Path
) -> None:
    async with own_edge(tmp_path, service.amqp_url) as (edge, http), streaming(tenant.through(http)) as other:
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            slow.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(slow, (http.base_url.host, http.base_url.port))
            request = f"GET /events HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {tenant.token}\r\n\r\n"
            await loop.sock_sendall(slow, request.encode())
            assert (await loop.sock_recv(slow, 64)).startswith(b"HTTP/1.1 200 ")

            # The kernel buffers an unknown amount, so events are published until the edge closes the stream.
            announced = 0
            async with asyncio.timeout(PATIENCE_SECONDS), await aio_pika.connect(service.amqp_url) as connection:
                exchange = await (await connection.channel()).get_exchange("events")
                while "read too slowly" not in edge.tail(1_000_000):
                    for _ in range(100):
                        announced += 1
                        await _announce(exchange, tenant.id, session_id=f"session-{announced}")
                    for _ in range(100):
                        await other.next_event()
            received = b""
            while data := await loop.sock_recv(slow, 65_536):
                received += data
        assert b": too many events were waiting to be read\n" in received
        assert received.endswith(b"0\r\n\r\n")
        assert received.count(b"event: session.revoked") < announced


async def _announce(exchange: aio_pika.abc.AbstractExchange, tenant: str, session_id: str) -> None:
    """Publish an event of the tenant with the longest names."""
    example = SessionRevokedEvent.model_validate(REVOCATION)
    longest = "\N{GRINNING FACE}" * MAX_NAME_CHARS
    changes = {"tenant": tenant, "session_id": session_id, "login": longest, "device_id": longest}
    event = SessionRevokedEvent.of(example.data.model_copy(update=changes), example.source)
    await exchange.publish(aio_pika.Message(event.to_json()), event.data.routing_key)
