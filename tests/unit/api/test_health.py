"""Liveness and readiness."""

import httpx
import pytest

from shared.contracts.errors import DeadlineExceeded, Unavailable
from tests.unit.api.fake_rpc import FakeRpc


async def test_live(edge: httpx.AsyncClient, rpc: FakeRpc) -> None:
    """A process that answers is alive, broker or none."""
    rpc.connected.clear()

    response = await edge.get("/health/live")

    assert (response.status_code, response.json()) == (200, {"status": "live"})


async def test_ready(edge: httpx.AsyncClient, rpc: FakeRpc) -> None:
    """It is ready when a worker of each lane answers and reaches its database."""
    response = await edge.get("/health/ready")

    assert response.status_code == 200
    assert response.json() == {
        "status": "ready",
        "broker": "ok",
        "database": "ok",
        "lanes": {"verify": "ok", "manage": "ok", "password": "ok"},
    }
    assert {call.operation for call in rpc.calls} == {"health.verify", "health.manage", "health.password"}
    assert {call.timeout_seconds for call in rpc.calls} == {2.0}


@pytest.mark.parametrize(
    ("answers", "missing"),
    [
        ({"health.password": Unavailable()}, ["worker:password"]),
        ({"health.verify": DeadlineExceeded()}, ["worker:verify"]),
        ({"health.manage": {"database": False}}, ["database"]),
        ({"health.verify": Unavailable(), "health.password": {"database": False}}, ["worker:verify", "database"]),
    ],
)
async def test_not_ready(edge: httpx.AsyncClient, rpc: FakeRpc, answers: dict[str, object], missing: list[str]) -> None:
    """What is missing is named, with a 503 that may be tried again."""
    rpc.answers |= answers  # type: ignore[arg-type]

    response = await edge.get("/health/ready")

    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["missing"] == missing


async def test_no_broker(edge: httpx.AsyncClient, rpc: FakeRpc) -> None:
    """Without a broker nobody can be asked, and the broker is what is missing."""
    rpc.connected.clear()

    response = await edge.get("/health/ready")

    assert (response.status_code, response.json()["missing"]) == (503, ["broker"])
    assert rpc.calls == []
