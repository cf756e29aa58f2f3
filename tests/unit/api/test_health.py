"""Liveness and readiness."""

import asyncio
from typing import Any

import httpx
import pytest

from api.readiness import SHARED_SECONDS, SharedReadiness
from api.workers import WorkerCalls
from shared.contracts.errors import DeadlineExceeded, Unavailable
from tests.unit.api.fake_rpc import FakeRpc


async def test_liveness_without_a_broker_is_answered_200(edge: httpx.AsyncClient, rpc: FakeRpc) -> None:
    rpc.connected.clear()

    response = await edge.get("/health/live")

    assert (response.status_code, response.json()) == (200, {"status": "live"})


async def test_readiness_with_all_workers_and_their_database_is_answered_200(
    edge: httpx.AsyncClient, rpc: FakeRpc
) -> None:
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
async def test_readiness_without_a_dependency_is_answered_503_with_its_name(
    edge: httpx.AsyncClient, rpc: FakeRpc, answers: dict[str, object], missing: list[str]
) -> None:
    rpc.answers |= answers  # type: ignore[arg-type]

    response = await edge.get("/health/ready")

    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["missing"] == missing


async def test_readiness_without_a_broker_names_only_the_broker(edge: httpx.AsyncClient, rpc: FakeRpc) -> None:
    """Without a broker the edge cannot ask the workers."""
    rpc.connected.clear()

    response = await edge.get("/health/ready")

    assert (response.status_code, response.json()["missing"]) == (503, ["broker"])
    assert rpc.calls == []


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
async def test_head_of_a_health_check_answers_as_get(edge: httpx.AsyncClient, rpc: FakeRpc, path: str) -> None:
    """Some uptime checks send HEAD (RFC 9110, 9.3.2)."""
    assert (await edge.head(path)).status_code == 200
    rpc.connected.clear()
    assert (await edge.head(path)).status_code == (503 if path == "/health/ready" else 200)
    assert "head" not in (await edge.get("/openapi.json")).json()["paths"][path]


class Clock:
    """A clock that only the test moves."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class SlowRpc(FakeRpc):
    """Workers that answer once `may_answer` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()

    async def call(self, *args: Any, **kwargs: Any) -> Any:
        reply = await super().call(*args, **kwargs)
        await self.may_answer.wait()
        return reply


async def test_concurrent_readiness_checks_ask_each_lane_once(rpc: FakeRpc) -> None:
    """An answer of half a second ago is not used any more."""
    clock = Clock()
    readiness = SharedReadiness(WorkerCalls(rpc, 5), clock)
    assert await asyncio.gather(*(readiness.missing() for _ in range(50))) == [()] * 50
    assert len(rpc.calls) == 3

    rpc.answers["health.verify"] = Unavailable()
    clock.now += SHARED_SECONDS - 0.01
    assert await readiness.missing() == ()
    clock.now += 0.01
    assert await readiness.missing() == ("worker:verify",)
    assert len(rpc.calls) == 6


async def test_late_readiness_answer_is_shared_only_by_earlier_checks() -> None:
    clock, rpc = Clock(), SlowRpc()
    readiness = SharedReadiness(WorkerCalls(rpc, 5), clock)
    first = asyncio.create_task(readiness.missing())
    while len(rpc.calls) < 3:  # noqa: ASYNC110 - a turn or two
        await asyncio.sleep(0)
    clock.now += 2 * SHARED_SECONDS
    second = asyncio.create_task(readiness.missing())
    await asyncio.sleep(0)
    first.cancel()
    rpc.may_answer.set()
    assert await second == (), "a cancelled check does not cancel the others"
    assert len(rpc.calls) == 3
    await readiness.missing()
    assert len(rpc.calls) == 6


async def test_lost_broker_is_reported_although_the_last_check_is_fresh(rpc: FakeRpc) -> None:
    readiness = SharedReadiness(WorkerCalls(rpc, 5), Clock())
    assert await readiness.missing() == ()
    rpc.connected.clear()
    assert await readiness.missing() == ("broker",)
