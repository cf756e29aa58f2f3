"""The whole service as processes: edges and workers on a broker and a database."""

import asyncio
import base64
import contextlib
import functools
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from dev.ports import free_port
from dev.processes import ChildProcess
from dev.services import LANES, api_service, worker_service
from tests.backends import with_indexes

START_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class RunningService:
    """The URLs of the edges, and all processes by name."""

    urls: tuple[str, ...]
    amqp_url: str
    mongo_url: str
    master_keys: str
    """As in `AUTH_MASTER_KEYS`: a test may sign tokens of sessions that it stores itself."""
    processes: Mapping[str, ChildProcess]

    def logs(self) -> str:
        """Return everything that the processes have logged so far."""
        return "\n".join(process.log_path.read_text() for process in self.processes.values())


@contextlib.asynccontextmanager
async def running_service(
    directory: Path,
    amqp_url: str,
    mongo_url: str,
    *,
    edges: int = 1,
    workers: int = 1,
    env: Mapping[str, str] | None = None,
    env_of: Mapping[str, Mapping[str, str]] | None = None,
) -> AsyncIterator[RunningService]:
    """Run this many edges, and this many workers of each kind, until the block ends.

    The block begins when all are ready. The processes are called `api-0`, `worker-verify-0`, `worker-password-0` and so
    on; `env_of` has the environment of single ones, by name.
    """
    # With a low priority, logins would wait for other load on the machine, such as other tests.
    env, of_one = {"AUTH_PASSWORD_NICE": "0", **(env or {})}, env_of or {}
    keys = directory / "master-keys"
    master_keys = f"test:{base64.b64encode(secrets.token_bytes(32)).decode()}"
    keys.write_text(master_keys)
    ports = [free_port() for _ in range(edges)]
    services = [
        *(
            worker_service(
                lanes,
                amqp_url=amqp_url,
                mongo_url=mongo_url,
                master_keys_file=keys,
                name=name,
                env={**env, **of_one.get(name, {})},
            )
            for number in range(workers)
            for lanes in LANES
            for name in [f"worker-{lanes.partition(',')[0]}-{number}"]
        ),
        *(
            api_service(
                port,
                amqp_url=amqp_url,
                name=name,
                env={"AUTH_PUBLIC_URL": f"http://127.0.0.1:{port}", **env, **of_one.get(name, {})},
            )
            for number, port in enumerate(ports)
            for name in [f"api-{number}"]
        ),
    ]
    await with_indexes(mongo_url)
    async with contextlib.AsyncExitStack() as stack:
        processes = {service.name: ChildProcess(service, directory / "logs") for service in services}
        for process in processes.values():
            process.start()
            stack.push_async_callback(process.terminate)
        urls = tuple(f"http://127.0.0.1:{port}" for port in ports)
        running = RunningService(urls, amqp_url, mongo_url, master_keys, processes)
        async with httpx.AsyncClient() as http:
            for name, process in processes.items():
                if name.startswith("worker"):
                    await process.wait_until(functools.partial(takes_requests, process), START_TIMEOUT_SECONDS)
            for url, name in zip(running.urls, (name for name in processes if name.startswith("api")), strict=True):
                await processes[name].wait_until(functools.partial(_ready, http, url), START_TIMEOUT_SECONDS)
        yield running


async def takes_requests(process: ChildProcess) -> bool:
    """Return whether a worker has logged that it takes requests since its last start."""
    return '"event": "taking requests"' in process.tail(1_000_000)


async def refused_readiness(http: httpx.AsyncClient, probe_seconds: float = 0.5) -> httpx.Response:
    """Return the first answer to a readiness probe that says "not ready".

    For some seconds of an outage, edges stay ready: it may be a planned election of the database.
    """
    async with asyncio.timeout(START_TIMEOUT_SECONDS):
        while (response := await http.get("/health/ready")).is_success:  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(probe_seconds)
        return response


async def _ready(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(f"{url}/health/ready")).is_success
    except httpx.TransportError:
        return False
