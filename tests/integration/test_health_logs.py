"""Health checks and scrapes in the logs of an edge and its workers."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest_asyncio
from yarl import URL

from api.readiness import SHARED_SECONDS
from dev.ports import free_port
from tests.backends import Backend
from tests.integration.proxy import Proxy
from tests.service import RunningService, refused_readiness, running_service

PATIENCE_SECONDS = 60
#: The processes of one edge and one worker of each kind.
PROCESSES = ("api-0", "worker-verify-0", "worker-password-0")


@pytest_asyncio.fixture
async def database(backend: Backend) -> AsyncIterator[Proxy]:
    """The link between the workers and their database; see `without_discovery`."""
    async with Proxy(backend.database_url()) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def metrics_ports() -> dict[str, int]:
    return {name: free_port() for name in PROCESSES}


@pytest_asyncio.fixture
async def service(
    backend: Backend, database: Proxy, metrics_ports: dict[str, int], tmp_path: Path
) -> AsyncIterator[RunningService]:

    ports = {name: {"AUTH_METRICS_PORT": str(port)} for name, port in metrics_ports.items()}
    async with running_service(
        tmp_path, await backend.vhost(), without_discovery(database.url), env_of=ports
    ) as running:
        yield running


def without_discovery(url: str) -> str:
    """Return the URL with an option: otherwise the driver asks the database for its address and connects there."""
    return str(URL(url).update_query(directConnection="true"))


def lines(service: RunningService, process: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in service.processes[process].log_path.read_text().splitlines()]


async def test_idle_service_logs_no_successful_health_check_and_no_scrape(
    service: RunningService, metrics_ports: dict[str, int]
) -> None:
    async with httpx.AsyncClient(base_url=service.urls[0], timeout=PATIENCE_SECONDS) as http:
        logged = {name: len(lines(service, name)) for name in PROCESSES}
        for _ in range(3):
            for path in ("/health/live", "/health/ready"):
                assert (await http.get(path)).status_code == 200
                assert (await http.head(path)).status_code == 200
            await asyncio.sleep(SHARED_SECONDS)  # the next readiness check asks the workers again
        for port in metrics_ports.values():
            assert (await http.get(f"http://127.0.0.1:{port}/metrics")).status_code == 200
        handled = (await http.get(f"http://127.0.0.1:{metrics_ports['worker-verify-0']}/metrics")).text
    assert 'jincor_auth_worker_requests_total{code="ok",operation="health.verify"} ' in handled
    assert {name: lines(service, name)[before:] for name, before in logged.items()} == {name: [] for name in PROCESSES}


async def test_health_check_that_fails_is_logged_by_edge_and_worker(service: RunningService, database: Proxy) -> None:
    async with httpx.AsyncClient(base_url=service.urls[0], timeout=PATIENCE_SECONDS) as http, asyncio.timeout(60):
        database.hold()
        ready = await refused_readiness(http)
        database.let_through()
    assert (ready.status_code, ready.json()["missing"]) == (503, ["database"])
    identifier = ready.headers["x-request-id"]
    [line] = [line for line in lines(service, "api-0") if line.get("request_id") == identifier]
    assert (line["event"], line["route"], line["status"]) == ("request", "/health/ready", 503)
    assert any(
        (line["event"], line.get("operation")) == ("request", "health.verify")
        for line in lines(service, "worker-verify-0")
    )


async def test_request_to_an_unknown_health_route_is_logged(service: RunningService) -> None:
    async with httpx.AsyncClient(base_url=service.urls[0]) as http:
        answer = await http.get("/health/nothing")
    assert answer.status_code == 404
    async with asyncio.timeout(PATIENCE_SECONDS):
        # The edge may write the line after its response has arrived.
        while not (logged := [line["status"] for line in lines(service, "api-0") if line["event"] == "request"]):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert logged == [404]
