"""The limit on requests per client address."""

import asyncio
from ipaddress import ip_network
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from api.limits.requests import RequestLimit, request_limit
from tests.unit.api.conftest import OpenEdge

JSON = {"token": "t"}


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def _app(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


class Limited:
    """Sends requests through a `RequestLimit`, as a server does."""

    def __init__(self, requests: int = 2, seconds: float = 10, *exempt: str) -> None:
        self.clock = Clock()
        networks = [ip_network(network) for network in exempt]
        self.limit = RequestLimit(_app, requests, seconds, networks, self.clock)

    async def ask(self, host: str | None = "192.0.2.1", path: str = "/auth/verify") -> tuple[int, str | None]:
        """Send a request; return its status and `Retry-After`."""
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            raise AssertionError("the limit must not read the body")

        client = (host, 50_000) if host is not None else None
        scope: dict[str, Any] = {"type": "http", "path": path, "client": client, "headers": []}
        await self.limit(scope, receive, send)
        headers = dict(sent[0]["headers"])
        return sent[0]["status"], headers[b"retry-after"].decode() if b"retry-after" in headers else None


async def test_requests_over_the_limit_are_answered_429_until_the_window_ends() -> None:
    """`Retry-After` gives the rest of the window in whole seconds."""
    limited = Limited(requests=2, seconds=10)
    for _ in range(2):
        assert [await limited.ask() for _ in range(4)] == [(200, None), (200, None), (429, "10"), (429, "10")]
        limited.clock.now += 6.5
        assert await limited.ask() == (429, "4")
        limited.clock.now += 3.5


async def test_limit_counts_each_address_or_ipv6_network_separately() -> None:
    """Requests without a client address are not counted."""
    limited = Limited(requests=1)
    for host in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"):
        assert (await limited.ask(host))[0] == 200
    for host in ("192.0.2.2", "2001:db8::2", "::ffff:192.0.2.1"):
        assert (await limited.ask(host))[0] == 429
    for unknown in (None, "", "unknown"):
        assert {(await limited.ask(unknown))[0] for _ in range(5)} == {200}


async def test_requests_from_exempt_networks_are_not_counted() -> None:
    limited = Limited(1, 10, "10.0.0.0/8", "2001:db8::/32")
    for host in ("10.1.2.3", "2001:db8:1::1"):
        assert {(await limited.ask(host))[0] for _ in range(5)} == {200}
    assert [(await limited.ask("11.0.0.1"))[0] for _ in range(2)] == [200, 429]


async def test_health_probes_are_neither_counted_nor_refused() -> None:
    limited = Limited(requests=1)
    for path in ("/health/live", "/health/ready"):
        assert {(await limited.ask(path=path))[0] for _ in range(5)} == {200}
    assert [(await limited.ask())[0] for _ in range(2)] == [200, 429]
    assert (await limited.ask(path="/health/live"))[0] == 200


async def test_counts_of_past_windows_are_dropped() -> None:
    limited = Limited(requests=1)
    for number in range(200):
        await limited.ask(f"192.0.2.{number}")
    limited.clock.now += 10
    await limited.ask("198.51.100.1")
    assert limited.limit.clients == 1


async def test_request_over_the_limit_gets_a_problem_document_and_reaches_no_worker(open_edge: OpenEdge) -> None:
    async with open_edge(request_limit=2, request_limit_seconds=3600) as edge:
        responses = [await edge.post("/tenant/verify", json=JSON, headers={"X-Request-ID": "r-1"}) for _ in range(3)]
        assert (await edge.get("/health/live")).status_code == 200
    assert [response.status_code for response in responses] == [200, 200, 429]
    document = responses[2].json()
    assert (document["code"], document["requestId"]) == ("too_many_requests", "r-1")
    assert responses[2].headers["Content-Type"] == "application/problem+json"
    assert 0 < int(responses[2].headers["Retry-After"]) <= 3600


async def test_exempt_networks_in_the_settings_are_not_limited(open_edge: OpenEdge) -> None:
    """Operators list their own services there."""
    networks = {"request_limit_exempt": "203.0.113.0/24, 2001:db8::/32"}
    async with open_edge(request_limit=1, request_limit_seconds=3600, **networks) as edge:
        answers = await asyncio.gather(*(edge.post("/tenant/verify", json=JSON) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}


async def test_requests_by_default_are_not_limited(edge: httpx.AsyncClient) -> None:
    """No middleware is installed then."""
    answers = [await edge.post("/tenant/verify", json=JSON) for _ in range(50)]
    assert {answer.status_code for answer in answers} == {200}
    assert request_limit(0, 1.0, ()) == []


@pytest.mark.parametrize("name", ["request_limit", "request_limit_seconds", "request_limit_exempt"])
async def test_invalid_limit_setting_stops_the_start(open_edge: OpenEdge, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        async with open_edge(**{name: "-1"}):
            pass
