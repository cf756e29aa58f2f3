"""An edge as a process of its own, without a broker."""

import json
import os
import sys
from asyncio import create_subprocess_exec, sleep, timeout
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from dev.ports import free_port

TIMEOUT_SECONDS = 60


def clean_environment() -> dict[str, str]:
    ours = ("AUTH_", "AMQP_URL", "MONGO_URL")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@dataclass
class Edge:
    """A running `python -m api`."""

    process: Process
    client: httpx.AsyncClient

    async def stopped(self) -> list[dict[str, object]]:
        """Terminate the edge, check that it exits with 0, and return the lines of its log."""
        self.process.terminate()
        _, log = await self.process.communicate()
        assert self.process.returncode == 0, log
        return [json.loads(line) for line in log.splitlines()]


@asynccontextmanager
async def edge(**variables: str) -> AsyncIterator[Edge]:
    """`python -m api` with these variables, on a port of its own and without a broker."""
    port = free_port()
    own = {"AMQP_URL": f"amqp://127.0.0.1:{free_port()}", "AUTH_PORT": str(port), "AUTH_DRAIN_SECONDS": "0"}
    process = await create_subprocess_exec(
        *(sys.executable, "-m", "api"),
        env={**clean_environment(), **own, **variables},
        stdout=DEVNULL,
        stderr=PIPE,
    )
    try:
        async with timeout(TIMEOUT_SECONDS), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            while process.returncode is None:
                try:
                    await client.get("/health/live")
                    break
                except httpx.TransportError:
                    await sleep(0.05)
            assert process.returncode is None, "the edge ended"
            yield Edge(process, client)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
