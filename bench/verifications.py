"""Rows of the report: verifications, each with its floor."""

import asyncio
import time
from collections.abc import Sequence
from itertools import cycle

from bench.http_load import http_connections
from bench.load import CONNECTIONS, ROUNDS, SECONDS, Requests, http_load, verifications_of
from bench.population import Login
from bench.report import Figure, Report, Target
from bench.stage import Stage
from bench.timing import Timed, timed
from bench.usage import CpuUse
from shared.client.auth_client import AuthClient


async def verify_throughput(stage: Stage, requests: Requests, report: Report, connections: int) -> None:
    """Measure verifications per second over REST without a cache, and their CPU time by process."""
    figure = Figure(
        f"verify over REST, {connections} connections",
        "requests/s",
        Target(0.45),
        "a route of FastAPI in the same app, without the worker",
    )
    cpu = CpuUse(stage.pids)
    done: list[float] = []
    taken = 0.0
    await http_load(stage.stack.url, requests.verifications, SECONDS, connections)  # warm-up
    await http_load(stage.floor_url, requests.without_worker, SECONDS, connections)
    for _ in range(ROUNDS):
        floor = await http_load(stage.floor_url, requests.without_worker, SECONDS, connections)
        with cpu.counted():
            verified = await http_load(stage.stack.url, requests.verifications, SECONDS, connections)
        done += verified.durations
        taken += verified.elapsed
        figure.add(verified.per_second, floor.per_second)
    report.add(figure)
    report.latencies[f"verify, {connections} connections"] = Timed(done, taken)
    report.cpu_ms[f"a verification at {connections} connections"] = cpu.ms_each(len(done))


async def verify_at_a_caching_edge(stage: Stage, requests: Requests, report: Report) -> None:
    """Measure verifications per second at an edge with a cache: `AUTH_VERIFY_CACHE_SECONDS`, off by default."""
    figure = Figure(
        f"verify at an edge with a cache, {CONNECTIONS} connections",
        "requests/s",
        Target(0.8),
        "a route of FastAPI in the same app, without the worker",
    )
    await http_load(stage.caching_url, requests.verifications, SECONDS)
    for _ in range(ROUNDS):
        floor = await http_load(stage.floor_url, requests.without_worker, SECONDS)
        verified = await http_load(stage.caching_url, requests.verifications, SECONDS)
        figure.add(verified.per_second, floor.per_second)
    report.add(figure)


async def verify_latency(stage: Stage, requests: Requests, login: Login, report: Report) -> None:
    """Measure a single verification, and as its floor the unavoidable steps one after the other.

    The floor uses the same order and rhythm, because a process that has been idle answers more slowly. On a
    virtual machine it takes more than twice as long.
    """
    figure = Figure(
        "verify over REST, 1 connection, p50",
        "ms",
        Target(1.3, at_most=True),
        "that route, then an AMQP echo, then a find_one",
    )
    durations: list[float] = []
    turn = cycle(requests.without_worker)
    async with http_connections([stage.floor_url], 1) as http:

        async def what_it_takes() -> None:
            await http.ask(next(turn))
            await stage.echo.send()
            await stage.population.find_session(login.session_id)

        for _ in range(ROUNDS):
            floor = await timed(what_it_takes, SECONDS)
            verified = await http_load(stage.stack.url, requests.verifications, SECONDS, 1)
            durations += verified.durations
            figure.add(verified.p50_ms, floor.p50_ms)
    report.add(figure)
    report.latencies["verify, 1 connection"] = Timed(durations, sum(durations))


async def verify_over_amqp(stage: Stage, logins: Sequence[Login], report: Report) -> None:
    """Measure verifications per second of the client library, without an edge."""
    figure = Figure(
        f"verify by AuthClient, {CONNECTIONS} callers",
        "calls/s",
        Target(2),
        f"AMQP echo, one message a call, {CONNECTIONS} callers",
    )
    turn = cycle(logins)
    async with AuthClient.connect(stage.stack.amqp_url, tenant_token=logins[0].tenant_token) as auth:
        await timed(lambda: auth.verify(next(turn).token), SECONDS, CONNECTIONS)
        for _ in range(ROUNDS):
            floor = await timed(stage.echo.send, SECONDS, CONNECTIONS)
            verified = await timed(lambda: auth.verify(next(turn).token), SECONDS, CONNECTIONS)
            figure.add(verified.per_second, floor.per_second)
    report.add(figure)


async def verify_from_memory(stage: Stage, logins: Sequence[Login], report: Report) -> None:
    """Measure verifications per second of the client library's cached verifier, in this process."""
    figure = Figure("verify by the cached verifier, one process", "calls/s", Target(200_000))
    async with (
        AuthClient.connect(stage.stack.amqp_url, tenant_token=logins[0].tenant_token) as auth,
        auth.verifier(max_age_seconds=60) as verifier,
    ):
        if not await verifier.wait_trusted(SECONDS):
            raise RuntimeError("the revocation feed is not alive")
        for login in logins:
            await verifier.verify(login.token)
        for _ in range(ROUNDS):
            began = time.perf_counter()
            rounds = 0
            while time.perf_counter() < began + SECONDS / 3:
                for login in logins:
                    await verifier.verify(login.token)
                rounds += 1
                await asyncio.sleep(0)  # lets the feed prove that it is alive
            figure.add(rounds * len(logins) / (time.perf_counter() - began))
    report.add(figure)


async def verify_in_a_crowd(stage: Stage, requests: Requests, report: Report) -> None:
    """Measure verifications per second with many stored sessions of many tenants; the floor has few.

    Both databases lack the indexes that no verification uses.
    """
    figure = Figure(
        "verify with 200,000 sessions, 100 tenants",
        "requests/s",
        Target(0.9),
        "a second stack with 2,000 sessions, 100 tenants",
    )
    async with stage.another() as (another_url, another_population):
        of_few = verifications_of(await another_population.add_few())
        await another_population.drop_indexes()
        await stage.population.drop_indexes()
        await stage.population.add(tenants=99, sessions_each=2_000, logins=0)
        await http_load(another_url, of_few, SECONDS)
        await http_load(stage.stack.url, requests.verifications, SECONDS)
        for _ in range(ROUNDS):
            few = await http_load(another_url, of_few, SECONDS)
            figure.add((await http_load(stage.stack.url, requests.verifications, SECONDS)).per_second, few.per_second)
    report.add(figure)
