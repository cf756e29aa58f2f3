"""Rows of the report: logins, verifications during a login storm, and revocations, each with its floor."""

import asyncio
import json
import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Final

import aio_pika
from aio_pika.abc import AbstractIncomingMessage
from argon2 import PasswordHasher

from bench.http_load import http_connections
from bench.load import CONNECTIONS, PASSWORD, ROUNDS, SECONDS, Requests, http_load, post
from bench.population import Login
from bench.report import Figure, Report, Target
from bench.stage import Stage
from bench.timing import Timed, timed, timed_at_rate
from bench.usage import CpuUse
from shared.amqp.topology import EVENTS_EXCHANGE

#: Enough to keep every hashing thread busy, and far below the limit of the lane's queue.
LOGINS_IN_FLIGHT: Final = 16
#: Rate of verifications during the storm: a light load whose callers do not wait for each other.
STEADY_PER_SECOND: Final = 100
STORM_SECONDS: Final = 3.0
LOGOUTS: Final = 2_000


async def logins_per_second(stage: Stage, requests: Requests, report: Report) -> None:
    """Measure logins per second without other load."""
    # As in the stack's worker: this variable, or the number of cores.
    threads = int(os.environ.get("AUTH_HASH_THREADS") or os.cpu_count() or 1)
    figure = Figure("login", "logins/s", Target(0.9), f"bare argon2, {threads} threads")
    password_hash = await stage.population.password_hash()
    cpu = CpuUse(stage.pids)
    taken: list[float] = []
    for _ in range(ROUNDS):
        floor = await asyncio.to_thread(_argon2_per_second, password_hash, threads)
        with cpu.counted():
            logged_in = await http_load(stage.stack.url, [requests.login], SECONDS, LOGINS_IN_FLIGHT)
        taken += logged_in.durations
        figure.add(logged_in.per_second, floor)
    report.add(figure)
    report.latencies[f"login, {LOGINS_IN_FLIGHT} at a time"] = Timed(taken, sum(taken))
    argon2_ms = 1000 * threads / statistics.median(figure.floors)
    report.cpu_ms[f"a login, {LOGINS_IN_FLIGHT} at a time (bare argon2: {argon2_ms:.1f})"] = cpu.ms_each(len(taken))


async def verify_in_a_storm(stage: Stage, requests: Requests, report: Report) -> None:
    """Measure the p99 of verifications during a login storm."""
    figure = Figure(
        f"verify p99 with {LOGINS_IN_FLIGHT} logins always in flight",
        "ms",
        Target(3, at_most=True),
        f"p99 without them, {STEADY_PER_SECOND}/s both",
    )
    alone: list[float] = []
    stormy: list[float] = []
    turn = cycle(requests.verifications)

    async def verify_steadily() -> Timed:
        async with http_connections([stage.stack.url], CONNECTIONS) as http:
            return await timed_at_rate(lambda: http.ask(next(turn)), STORM_SECONDS, STEADY_PER_SECOND)

    for _ in range(ROUNDS):
        calm = await verify_steadily()
        disturbed, _ = await asyncio.gather(
            verify_steadily(), http_load(stage.stack.url, [requests.login], STORM_SECONDS, LOGINS_IN_FLIGHT)
        )
        figure.add(disturbed.p99_ms, calm.p99_ms)
        alone += calm.durations
        stormy += disturbed.durations
    report.add(figure)
    report.latencies[f"verify, {STEADY_PER_SECOND}/s"] = Timed(alone, sum(alone))
    report.latencies[f"verify, {STEADY_PER_SECOND}/s in a login storm"] = Timed(stormy, sum(stormy))


async def revocation_lag(stage: Stage, logins: Sequence[Login], report: Report) -> None:
    """Measure the time from the response to a logout until a subscriber has the event; 0 if it has it earlier."""
    figure = Figure(
        f"revocation lag, p50 of {len(logins):,}", "ms", Target(3, at_most=True), "p50 of AMQP publish to consume"
    )
    slowest = Figure(f"revocation lag, p99 of {len(logins):,}", "ms", Target(20, at_most=True))
    tenant = logins[0].tenant
    async with (
        await aio_pika.connect(stage.stack.amqp_url) as connection,
        connection.channel() as channel,
        http_connections([stage.stack.url], 1) as http,
    ):
        events = await channel.get_exchange(EVENTS_EXCHANGE, ensure=False)
        queue = await channel.declare_queue(exclusive=True)
        arrived: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def on_event(message: AbstractIncomingMessage) -> None:
            arrived.put_nowait((time.perf_counter(), message.body))

        for key in (f"session.revoked.{tenant}", "bench"):
            await queue.bind(events, key)
        await queue.consume(on_event, no_ack=True)

        async def publish() -> None:
            await events.publish(aio_pika.Message(b"x" * 512), "bench")
            await arrived.get()

        floor = await timed(publish, SECONDS)
        lags = []
        for login in logins:
            await http.ask(post("/auth/logout", {"token": login.token}, login.tenant_token))
            answered = time.perf_counter()
            at, event = await arrived.get()
            if json.loads(event)["subject"] != login.session_id:
                raise RuntimeError("received the event of another session")
            lags.append(max(at - answered, 0))
    lag = Timed(lags, sum(lags) or 1)
    figure.add(lag.p50_ms, floor.p50_ms)
    slowest.add(lag.p99_ms)
    report.add(figure)
    report.add(slowest)
    report.latencies["revocation lag"] = lag


def _argon2_per_second(password_hash: str, threads: int) -> float:
    """Return argon2 verifications of this hash per second, on this many threads."""
    hasher = PasswordHasher()
    began = time.perf_counter()

    def work(_: int) -> int:
        done = 0
        while time.perf_counter() < began + SECONDS:
            hasher.verify(password_hash, PASSWORD)
            done += 1
        return done

    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(work, range(threads)))
    return done / (time.perf_counter() - began)
