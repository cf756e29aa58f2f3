"""Health: whether this process lives, and whether the service behind it can do its work."""

import asyncio
from typing import Literal

from fastapi import APIRouter, Response

from api.dependencies import Leaving, WorkerCalls, Workers
from api.errors import Problem, problem, problem_response
from api.messages import to_response
from api.openapi import problem_content
from shared.contracts.errors import AuthError, ErrorCode
from shared.contracts.health import HEALTH, HealthReply, HealthRequest
from shared.contracts.operation import Lane
from shared.contracts.wire import WireModel

#: Below what probes commonly wait, so that the answer names what is missing before the prober gives up.
PROBE_TIMEOUT_SECONDS = 2.0

router = APIRouter(prefix="/health", tags=["Health"])


class Live(WireModel):
    status: Literal["live"]


class Ready(WireModel):
    status: Literal["ready"]
    broker: Literal["ok"]
    database: Literal["ok"]
    lanes: dict[Lane, Literal["ok"]]


def _not_ready(missing: tuple[str, ...]) -> Problem:
    return problem(ErrorCode.UNAVAILABLE, f"not ready, missing: {', '.join(missing)}", missing=missing)


@router.get("/live", operation_id="health.live", response_model=Live)
async def live() -> Response:
    """Says that this process answers. It asks nobody else."""
    return to_response(Live(status="live"))


@router.get(
    "/ready",
    operation_id="health.ready",
    response_model=Ready,
    responses={503: {"description": "Not ready", **problem_content({"not_ready": _not_ready(("worker:password",))})}},
)
async def ready(workers: Workers, leaving: Leaving) -> Response:
    """Asks a worker of each lane, and each of them its database; names what is missing.

    A process that is about to stop is not ready either: it serves what comes, but should get nothing new.
    """
    if leaving:
        return problem_response(problem(ErrorCode.UNAVAILABLE, "not ready: this edge is stopping"))
    if missing := await _missing(workers):
        return problem_response(_not_ready(missing))
    lanes = dict.fromkeys(Lane, "ok")
    return to_response(Ready.model_validate({"status": "ready", "broker": "ok", "database": "ok", "lanes": lanes}))


async def _missing(workers: WorkerCalls) -> tuple[str, ...]:
    if not workers.rpc.connected.is_set() or workers.rpc.blocked:
        return ("broker",)
    replies = await asyncio.gather(*(_probe(workers, lane) for lane in Lane))
    if workers.rpc.blocked:  # which shows when something is published
        return ("broker",)
    absent = [f"worker:{lane}" for lane, reply in zip(Lane, replies, strict=True) if reply is None]
    cut_off = any(reply is not None and not reply.database for reply in replies)
    return (*absent, *(["database"] if cut_off else []))


async def _probe(workers: WorkerCalls, lane: Lane) -> HealthReply | None:
    try:
        return await workers.call(HEALTH[lane], HealthRequest(), timeout_seconds=PROBE_TIMEOUT_SECONDS)
    except AuthError:
        return None
