"""`python -m bench`: starts a stack of its own, loads it from this process, and prints what it did.

Absolute figures mean nothing on a shared machine, so each stands beside a floor measured in the same rounds. This
process is the load generator and nothing else; service, broker, database and echo have processes of their own. All
of them share the cores of the machine.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.floors import AmqpEcho, Database, argon2_per_second, connected_echo, p50_ms, serve_echo
from bench.http_load import Load, UnexpectedAnswer
from bench.report import Figure, print_table, write_json
from dev.ports import free_port
from dev.processes import ChildProcess, Service, StackError
from dev.stack import LocalStack

ROUNDS: Final = 3
SECONDS: Final = 1.2
CONNECTIONS: Final = 32
#: Enough to keep every hashing thread busy, and far fewer than the lane's queue takes.
LOGINS_IN_FLIGHT: Final = 16
TOKENS: Final = 100
PASSWORD: Final = "correct horse battery"
ECHO_TIMEOUT_SECONDS: Final = 30


@dataclass(frozen=True)
class Requests:
    """One user and many tokens of his, as requests that are ready to be sent."""

    live: bytes
    login: bytes
    verifications: Sequence[bytes]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--echo", metavar="AMQP_URL", help="answer messages with themselves; used by the benchmark")
    echo_url = parser.parse_args().echo
    try:
        asyncio.run(serve_echo(echo_url) if echo_url else _bench())
    except (StackError, UnexpectedAnswer) as error:
        sys.exit(f"bench: {error}")


async def _bench() -> None:
    with tempfile.TemporaryDirectory(prefix="jincor-auth-bench-") as directory:
        async with (
            LocalStack(Path(directory), free_port()) as stack,
            _echo_process(stack.amqp_url, Path(directory)),
            connected_echo(stack.amqp_url) as echo,
            Database(stack.mongo_url) as database,
        ):
            requests = await _prepare(Load(stack.url, 1))
            figures = [
                await _throughput(Load(stack.url, CONNECTIONS), requests),
                await _latency(Load(stack.url, 1), requests, echo, database),
                await _logins(Load(stack.url, LOGINS_IN_FLIGHT), requests, await database.stored_hash()),
            ]
    print(
        f"\nMedians of {ROUNDS} rounds of {SECONDS} s; {TOKENS} distinct tokens, {os.cpu_count()} cores for everything"
    )
    print_table(figures)
    print(f"Written to {write_json(figures)}")


@asynccontextmanager
async def _echo_process(amqp_url: str, directory: Path) -> AsyncIterator[None]:
    echo = ChildProcess(Service("echo", [sys.executable, "-m", "bench", "--echo", amqp_url], os.environ), directory)

    async def is_ready() -> bool:
        return "ready" in echo.tail()

    echo.start()
    try:
        await echo.wait_until(is_ready, ECHO_TIMEOUT_SECONDS)
        yield
    finally:
        await echo.kill()


async def _prepare(load: Load) -> Requests:
    """Registers a tenant, creates a user, and logs it in once for each token."""

    async def post(path: str, body: dict[str, str], token: str | None = None) -> dict[str, str]:
        answer = await load.once(load.request("POST", path, json.dumps(body).encode(), token))
        members: dict[str, str] = json.loads(answer)
        return members

    tenant = (await post("/tenant", {"email": "bench@example.com", "password": PASSWORD}))["token"]
    credentials = {"login": "ann", "password": PASSWORD}
    await post("/user", {**credentials, "email": "ann@example.com"}, tenant)
    login = {**credentials, "deviceId": "bench"}
    tokens = [(await post("/auth", login, tenant))["accessToken"] for _ in range(TOKENS)]
    return Requests(
        live=load.request("GET", "/health/live"),
        login=load.request("POST", "/auth", json.dumps(login).encode(), tenant),
        verifications=[
            load.request("POST", "/auth/verify", json.dumps({"token": token}).encode(), tenant) for token in tokens
        ],
    )


async def _throughput(load: Load, requests: Requests) -> Figure:
    figure = Figure(f"verify, {CONNECTIONS} connections", f"GET /health/live, {CONNECTIONS} connections", "requests/s")
    await load.run(requests.verifications, SECONDS / 2)  # the first of everything is slower
    for _ in range(ROUNDS):
        floor = await load.run([requests.live], SECONDS)
        figure.add((await load.run(requests.verifications, SECONDS)).per_second, floor.per_second)
    return figure


async def _latency(load: Load, requests: Requests, echo: AmqpEcho, database: Database) -> Figure:
    figure = Figure("verify, 1 connection, p50", "GET /health/live + AMQP echo + find_one, p50 each", "ms")
    for _ in range(ROUNDS):
        floor = (
            (await load.run([requests.live], SECONDS / 2)).p50_ms
            + await p50_ms(echo.send, SECONDS / 2)
            + await p50_ms(database.find_session, SECONDS / 2)
        )
        figure.add((await load.run(requests.verifications, SECONDS / 2)).p50_ms, floor)
    return figure


async def _logins(load: Load, requests: Requests, password_hash: str) -> Figure:
    # What a worker takes if nobody tells it otherwise; the stack's worker reads the same variable.
    threads = int(os.environ.get("AUTH_HASH_THREADS") or os.cpu_count() or 1)
    figure = Figure(f"login, {LOGINS_IN_FLIGHT} connections", f"bare argon2 verify, {threads} threads", "logins/s")
    for _ in range(ROUNDS):
        floor = await asyncio.to_thread(argon2_per_second, password_hash, PASSWORD, threads, SECONDS)
        figure.add((await load.run([requests.login], SECONDS)).per_second, floor)
    return figure


main()
