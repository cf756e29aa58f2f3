"""Health routes: liveness of this process, and readiness of the service behind it."""

from typing import Literal

from fastapi import APIRouter, Response

from api.dependencies import Leaving, Readiness
from api.errors import Problem, problem, problem_response
from api.messages import to_response
from api.openapi import problem_content
from shared.contracts.errors import ErrorCode
from shared.contracts.operation import Lane
from shared.contracts.wire import WireModel

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
    """Report that this process is alive. It checks neither the broker nor the workers."""
    return to_response(Live(status="live"))


@router.get(
    "/ready",
    operation_id="health.ready",
    response_model=Ready,
    responses={503: {"description": "Not ready", **problem_content({"not_ready": _not_ready(("worker:password",))})}},
)
async def ready(readiness: Readiness, leaving: Leaving) -> Response:
    """Check the broker, one worker of each lane and the database, and name what is missing.

    Concurrent probes, and probes within half a second, share one result. An edge that is stopping is not ready: it
    still serves requests, but should receive no new ones.
    """
    if leaving.is_set():
        return problem_response(problem(ErrorCode.UNAVAILABLE, "not ready: this edge is stopping"))
    if missing := await readiness.missing():
        return problem_response(_not_ready(missing))
    lanes = dict.fromkeys(Lane, "ok")
    return to_response(Ready.model_validate({"status": "ready", "broker": "ok", "database": "ok", "lanes": lanes}))
