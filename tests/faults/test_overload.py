"""Many times more logins than can be hashed, beside verifications."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from dev.ports import free_port
from shared.contracts.errors import OVERLOADED_RETRY_SECONDS
from tests.faults.flood import Flood, flooded
from tests.faults.load import PASSWORD
from tests.faults.metrics import metric_value
from tests.faults.profile import LONG, note
from tests.faults.retries import login_of, retried_as_told
from tests.faults.stack import Crashable, Stack, running_stack

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

#: `CALLERS` is far more than the password lane holds (`AUTH_PASSWORD_QUEUE_LENGTH`).
QUEUE_LENGTH = 16
CALLERS = 64
#: With 64 callers this is ten times as many logins as two cores can hash.
PAUSE_SECONDS = 0.15
SECONDS = 30 if LONG else 6
IDLE_SECONDS = 10 if LONG else 2
#: Multiple of the idle time. Four is required for verifications on idle cores; the rest is slack.
SLOWER_AT_MOST = 4 * 4
#: Shorter times are noise of a machine with other load, such as these callers.
NOISE_SECONDS = 1.0
#: Required for the median refusal at the edge.
REFUSED_SECONDS = 0.1
#: Additional wait of a caller for the cores that it shares with the edge and other callers.
SLACK_SECONDS = 0.9
#: Five seconds are required; the rest is slack.
BACK_SECONDS = 5.0 + 5.0
#: Allowed growth of a process during the overload.
GROWTH_MIB = 64


@pytest.fixture(scope="module")
def metrics_port() -> int:
    """The metrics port of the password worker."""
    return free_port()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(
    crashable: Crashable, metrics_port: int, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    async with running_stack(
        tmp_path_factory.mktemp("overload"),
        crashable,
        workers=1,
        env={
            "AUTH_PASSWORD_QUEUE_LENGTH": str(QUEUE_LENGTH),
            "AUTH_REPLY_TIMEOUT_SECONDS": "5",
            "AUTH_PASSWORD_NICE": "19",
        },
        env_of={"worker-password-0": {"AUTH_METRICS_PORT": str(metrics_port)}},
    ) as running:
        yield running


async def test_logins_beyond_capacity_are_refused_at_once(stack: Stack, metrics_port: int) -> None:
    """Verifications continue, refusals have a `Retry-After`, memory does not grow, and the service recovers."""
    await stack.tenant.create("ann", PASSWORD)
    token = await stack.tenant.login("ann", PASSWORD)
    own_pids = {name: process.pid for name, process in stack.service.processes.items()}
    pids = {**own_pids, "broker": stack.node.pid, "database": stack.server.pid}

    edge = stack.service.urls[0]
    login = Flood(edge, "/auth", stack.tenant.token, login_of("ann"), CALLERS, SECONDS, PAUSE_SECONDS)
    verify = Flood(edge, "/auth/verify", stack.tenant.token, {"token": token}, 2, IDLE_SECONDS, pause_seconds=0.02)
    idle = await flooded(verify)
    hashed = await metric_value(metrics_port, "worker_hash_duration_seconds_count")
    memory = {name: _resident_mib(pid) for name, pid in pids.items()}
    used = {name: _cpu_seconds(pid) for name, pid in pids.items()}
    logins, under_load = await asyncio.gather(flooded(login), flooded(replace(verify, seconds=SECONDS)))
    hashed = await metric_value(metrics_port, "worker_hash_duration_seconds_count") - hashed
    used = {name: round((_cpu_seconds(pid) - used[name]) / SECONDS, 2) for name, pid in pids.items()}
    grown = {name: _resident_mib(pid) - memory[name] for name, pid in pids.items()}
    over = time.monotonic()
    await stack.tenant.login("ann", PASSWORD)
    back = time.monotonic() - over
    after = await flooded(verify)

    rate = logins.statuses[200] / SECONDS
    note(
        f"logins {dict(logins.statuses)} in {SECONDS} s, {len(logins.all) / SECONDS / rate:.0f} times the answered "
        f"ones; Retry-After {dict(logins.retries())}; a login after it took {back:.2f} s"
    )
    note(f"passwords hashed: {hashed:.0f}, without an answer: {hashed - logins.statuses[200]:.0f}")
    note(f"memory MiB {memory}, grown by {grown}; cores used {used}")
    for what, answers, status in (
        ("refusal", logins, 503),
        ("login", logins, 200),
        ("idle verify", idle, 200),
        ("verify", under_load, 200),
        ("verify after it", after, 200),
    ):
        p50, p99 = (1000 * answers.quantile(status, share) for share in (0.5, 0.99))
        note(f"{what}: p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    refused = _logged_seconds(stack, "api-0", route="/auth", status=503)
    for what, seconds in (
        ("the edge's, refusal", refused),
        ("the edge's, verify", _logged_seconds(stack, "api-0", route="/auth/verify", status=200)),
        ("the worker's, verify", _logged_seconds(stack, "worker-verify-0", operation="auth.verify", code="ok")),
    ):
        note(f"by {what} log: {_spread(seconds)}")
    # An accepted login that gets no core in time is answered 504.
    assert set(logins.statuses) <= {200, 503, 504}, logins.statuses
    assert {*idle.statuses, *under_load.statuses, *after.statuses} == {200}
    # Expired requests are not hashed, except those that expire during hashing.
    assert logins.statuses[200] <= hashed <= logins.statuses[200] + logins.statuses[504]
    assert refused[len(refused) // 2] < REFUSED_SECONDS
    assert logins.quantile(503, 0.5) < REFUSED_SECONDS + SLACK_SECONDS
    assert under_load.quantile(200, 0.5) < max(SLOWER_AT_MOST * idle.quantile(200, 0.5), NOISE_SECONDS)
    assert back < BACK_SECONDS
    assert max(grown[name] for name in (*own_pids, "broker")) < GROWTH_MIB, grown


async def test_overloaded_callers_that_retry_as_told_are_served(stack: Stack) -> None:
    """Twice as many callers as the lane holds are served within a few retries."""
    retry_after, retries = await retried_as_told(stack, 2 * QUEUE_LENGTH)
    assert max(retries) <= 5
    assert set(retry_after) <= set(OVERLOADED_RETRY_SECONDS)


def _logged_seconds(stack: Stack, process: str, **members: object) -> list[float]:
    """Return the logged durations of a process's matching requests, shortest first."""
    wanted = {"event": "request", **members}
    lines = [json.loads(line) for line in stack.process(process).log_path.read_text().splitlines()]
    return sorted(line["duration_ms"] / 1000 for line in lines if wanted.items() <= line.items())


def _spread(seconds: list[float]) -> str:
    p50, p99 = (1000 * seconds[int(share * len(seconds))] for share in (0.5, 0.99))
    return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms"


def _resident_mib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) // 1024


def _cpu_seconds(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
