"""What is measured, a function for each row of the report; each alternates with its floor, round by round."""

import asyncio
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from typing import Final

import aio_pika
from aio_pika.abc import AbstractIncomingMessage
from argon2 import PasswordHasher

from bench.edge import FLOOR_PATH
from bench.http_load import http_connections, http_request
from bench.population import Login
from bench.report import Figure, Report, Target
from bench.stage import Stage
from bench.timing import Timed, timed, timed_at_rate
from bench.usage import cpu_seconds, resident_mib
from shared.amqp.topology import EVENTS_EXCHANGE
from shared.client import AuthClient

ROUNDS: Final = 5
SECONDS: Final = 1.5
CONNECTIONS: Final = 32
#: Enough to keep every hashing thread busy, and far fewer than the lane's queue takes.
LOGINS_IN_FLIGHT: Final = 16
#: Beside the storm: a load that the machine carries easily, whose callers do not wait for each other.
STEADY_PER_SECOND: Final = 100
STORM_SECONDS: Final = 3.0
LOGOUTS: Final = 2_000
PASSWORD: Final = "correct horse battery"
MEMORY_LIMIT_MIB: Final = 120


@dataclass(frozen=True, slots=True)
class Requests:
    """As they go over the wire."""

    login: bytes
    verifications: Sequence[bytes]
    without_worker: Sequence[bytes]


async def registered(stage: Stage, logins: Sequence[Login]) -> Requests:
    """Registers a tenant with a user who can log in; these logins are verified."""

    async def post(path: str, body: dict[str, str], token: str | None = None) -> dict[str, str]:
        async with http_connections([stage.stack.url], 1) as http:
            answer: dict[str, str] = json.loads(await http.ask(_post(path, body, token)))
            return answer

    tenant = (await post("/tenant", {"email": "bench@example.com", "password": PASSWORD}))["token"]
    await post("/user", {"login": "ann", "email": "ann@example.com", "password": PASSWORD}, tenant)
    return Requests(
        login=_post("/auth", {"login": "ann", "password": PASSWORD, "deviceId": "bench"}, tenant),
        verifications=[_post("/auth/verify", {"token": each.token}, each.tenant_token) for each in logins],
        without_worker=[_post(FLOOR_PATH, {"token": each.token}, each.tenant_token) for each in logins],
    )


async def verify_throughput(stage: Stage, requests: Requests, report: Report) -> None:
    """Verifications a second over REST, strict, and what CPU they cost in which process."""
    figure = Figure(
        f"verify over REST, {CONNECTIONS} connections",
        "requests/s",
        Target(0.45),
        "the same route of the same app, without the worker",
    )
    used = dict.fromkeys(stage.pids, 0.0)
    done: list[float] = []
    taken = 0.0
    await http_load(stage.stack.url, requests.verifications, SECONDS)  # the first of everything is slower
    await http_load(stage.floor_url, requests.without_worker, SECONDS)
    for _ in range(ROUNDS):
        floor = await http_load(stage.floor_url, requests.without_worker, SECONDS)
        before = cpu_seconds(stage.pids)
        verified = await http_load(stage.stack.url, requests.verifications, SECONDS)
        after = cpu_seconds(stage.pids)
        used = {name: used[name] + after[name] - before[name] for name in used}
        done += verified.durations
        taken += verified.elapsed
        figure.add(verified.per_second, floor.per_second)
    report.add(figure)
    report.latencies[f"verify, {CONNECTIONS} connections"] = Timed(done, taken)
    report.cpu_ms_per_verification = {name: 1000 * seconds / len(done) for name, seconds in used.items()}


async def verify_at_a_remembering_edge(stage: Stage, requests: Requests, report: Report) -> None:
    """Verifications a second over REST where the edge may remember: `AUTH_VERIFY_CACHE_SECONDS`, off by default."""
    figure = Figure(
        f"verify at an edge that remembers, {CONNECTIONS} connections",
        "requests/s",
        Target(0.8),
        "the same route of the same app, without the worker",
    )
    await http_load(stage.remembering_url, requests.verifications, SECONDS)
    for _ in range(ROUNDS):
        floor = await http_load(stage.floor_url, requests.without_worker, SECONDS)
        verified = await http_load(stage.remembering_url, requests.verifications, SECONDS)
        figure.add(verified.per_second, floor.per_second)
    report.add(figure)


async def verify_latency(stage: Stage, requests: Requests, login: Login, report: Report) -> None:
    """How long a lone verification takes, beside the sum of what it cannot do without."""
    figure = Figure(
        "verify over REST, 1 connection, p50",
        "ms",
        Target(1.3, at_most=True),
        "p50 of that route + of an AMQP echo + of a find_one",
    )
    durations: list[float] = []
    for _ in range(ROUNDS):
        floor = (
            (await http_load(stage.floor_url, requests.without_worker, SECONDS / 2, 1)).p50_ms
            + (await timed(stage.echo.send, SECONDS / 2)).p50_ms
            + (await timed(lambda: stage.population.find_session(login.session_id), SECONDS / 2)).p50_ms
        )
        verified = await http_load(stage.stack.url, requests.verifications, SECONDS / 2, 1)
        durations += verified.durations
        figure.add(verified.p50_ms, floor)
    report.add(figure)
    report.latencies["verify, 1 connection"] = Timed(durations, sum(durations))


async def verify_over_amqp(stage: Stage, logins: Sequence[Login], report: Report) -> None:
    """Verifications a second that a service gets by the client library, with no edge between."""
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
    """Verifications a second by the cached verifier of the client library, in this process."""
    figure = Figure("verify by the cached verifier, one process", "calls/s", Target(200_000))
    async with (
        AuthClient.connect(stage.stack.amqp_url, tenant_token=logins[0].tenant_token) as auth,
        auth.verifier(max_age_seconds=60) as verifier,
    ):
        if not await verifier.wait_trusted(SECONDS):
            raise RuntimeError("the feed of revocations is not alive")
        for login in logins:
            await verifier.verify(login.token)
        for _ in range(ROUNDS):
            began = time.perf_counter()
            rounds = 0
            while time.perf_counter() < began + SECONDS / 3:
                for login in logins:
                    await verifier.verify(login.token)
                rounds += 1
                await asyncio.sleep(0)  # the feed has to prove that it is alive
            figure.add(rounds * len(logins) / (time.perf_counter() - began))
    report.add(figure)


async def logins_per_second(stage: Stage, requests: Requests, report: Report) -> None:
    """Logins a second, with all cores for them."""
    # What a worker takes if nobody tells it otherwise; the stack's worker reads the same variable.
    threads = int(os.environ.get("AUTH_HASH_THREADS") or os.cpu_count() or 1)
    figure = Figure("login", "logins/s", Target(0.9), f"bare argon2, {threads} threads")
    password_hash = await stage.population.password_hash()
    taken: list[float] = []
    for _ in range(ROUNDS):
        floor = await asyncio.to_thread(_argon2_per_second, password_hash, threads)
        logged_in = await http_load(stage.stack.url, [requests.login], SECONDS, LOGINS_IN_FLIGHT)
        taken += logged_in.durations
        figure.add(logged_in.per_second, floor)
    report.add(figure)
    report.latencies[f"login, {LOGINS_IN_FLIGHT} at a time"] = Timed(taken, sum(taken))


async def verify_in_a_storm(stage: Stage, requests: Requests, report: Report) -> None:
    """How long the slowest verifications take while logins storm in."""
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
    """From the answer to a logout until a subscriber is told. Nothing, where it is told before."""
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
            await http.ask(_post("/auth/logout", {"token": login.token}, login.tenant_token))
            answered = time.perf_counter()
            at, event = await arrived.get()
            if json.loads(event)["subject"] != login.session_id:
                raise RuntimeError("an event of another session")
            lags.append(max(at - answered, 0))
    lag = Timed(lags, sum(lags) or 1)
    figure.add(lag.p50_ms, floor.p50_ms)
    slowest.add(lag.p99_ms)
    report.add(figure)
    report.add(slowest)
    report.latencies["revocation lag"] = lag


async def verify_in_a_crowd(stage: Stage, requests: Requests, report: Report) -> None:
    """Verifications a second once many sessions of many tenants are stored."""
    figure = Figure(
        "verify with 200,000 sessions, 100 tenants", "requests/s", Target(0.9), "with 2,000 sessions, 100 tenants"
    )
    floors = [await http_load(stage.stack.url, requests.verifications, SECONDS) for _ in range(ROUNDS)]
    await stage.population.add_many(tenants=99, sessions_each=2_000, logins=0)
    await http_load(stage.stack.url, requests.verifications, SECONDS)
    for floor in floors:
        crowd = await http_load(stage.stack.url, requests.verifications, SECONDS)
        figure.add(crowd.per_second, floor.per_second)
    report.add(figure)


def memory(stage: Stage, moment: str, report: Report) -> None:
    """What the processes of the service hold at this moment."""
    for name, pid in stage.pids.items():
        report.resident_mib[name] = {**report.resident_mib.get(name, {}), moment: resident_mib(pid)}


def memory_figures(report: Report, hashing_mib: float) -> None:
    """What the processes have come to, beside what they may."""
    for name, limit in (
        ("api", MEMORY_LIMIT_MIB),
        ("worker-verify", MEMORY_LIMIT_MIB),
        ("worker-password", MEMORY_LIMIT_MIB + hashing_mib),
    ):
        figure = Figure(f"memory of {name}", "MiB", Target(limit, at_most=True))
        figure.add(max(report.resident_mib[name].values()))
        report.add(figure)


async def http_load(
    url: str | Sequence[str], requests: Sequence[bytes], seconds: float, connections: int = CONNECTIONS
) -> Timed:
    """Sends the requests in turn, over so many connections."""
    turn = cycle(requests)
    async with http_connections([url] if isinstance(url, str) else url, connections) as http:
        return await timed(lambda: http.ask(next(turn)), seconds, connections)


def _post(path: str, body: dict[str, str], token: str | None) -> bytes:
    return http_request("POST", path, json.dumps(body).encode(), token)


def _argon2_per_second(password_hash: str, threads: int) -> float:
    """Bare verifications of this very hash, so with its parameters, on so many threads."""
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
