"""The edge as a process of its own, pointed at a broker that is not there."""

import asyncio
import os
import resource
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from shared.process.environment import EX_CONFIG

TIMEOUT_SECONDS = 120
#: httpx, and uvicorn if it is not told otherwise.
CLIENTS_KEEP_SECONDS = 5


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@asynccontextmanager
async def process(ulimit: str = "-Sn 1024", **settings: str) -> AsyncIterator[Process]:
    """`python -m api` with these settings, and that limit of its shell's, gone at the end whatever happens."""
    edge = await asyncio.create_subprocess_exec(
        *("sh", "-c", f'ulimit {ulimit} && exec "$0" -m api', sys.executable),
        env={**os.environ, "AUTH_DRAIN_SECONDS": "0", **settings},
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            yield edge
    finally:
        if edge.returncode is None:
            edge.kill()
            await edge.communicate()


async def until_it_answers(url: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        while True:
            try:
                return await client.get(url)
            except httpx.TransportError:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(("setting", "closes"), [({"AUTH_KEEP_ALIVE_SECONDS": "1"}, True), ({}, False)])
async def test_an_idle_connection(setting: dict[str, str], closes: bool) -> None:
    """It is closed after the setting; by default not within the five seconds that many clients keep one.

    Whose edge closes first is sent a request now and then that nobody reads.
    """
    port = free_port()
    async with process(AMQP_URL=f"amqp://127.0.0.1:{free_port()}", AUTH_PORT=str(port), **setting):
        await until_it_answers(f"http://127.0.0.1:{port}/health/live")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: edge\r\n\r\n")
        await reader.readuntil(b"}")
        if closes:
            assert await reader.read() == b""
        else:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(), CLIENTS_KEEP_SECONDS + 1)
        writer.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_stops_it(number: signal.Signals) -> None:
    """Without a broker it serves and answers 503; told to stop, it exits 0 and logs no traceback."""
    port = free_port()
    dead_broker = f"amqp://user:s3cret@127.0.0.1:{free_port()}"
    async with process(AMQP_URL=dead_broker, AUTH_PORT=str(port)) as edge:
        live = await until_it_answers(f"http://127.0.0.1:{port}/health/live")
        async with httpx.AsyncClient() as client:
            login = await client.post(f"http://127.0.0.1:{port}/tenant/logout", json={"token": "t"})
        edge.send_signal(number)
        _, log = await edge.communicate()

    assert live.status_code == 200
    assert "Server" not in live.headers
    assert (login.status_code, login.headers["Retry-After"]) == (503, "1")
    assert edge.returncode == 0
    assert b"Traceback" not in log
    assert b"s3cret" not in log


@pytest.mark.parametrize(("ulimit", "allowed"), [("-Sn 256", 1124), ("-n 512", 512)], ids=["soft", "hard"])
async def test_descriptors(ulimit: str, allowed: int) -> None:
    """It takes as many as its event streams need and the system allows, and says so when that is not enough."""
    port = free_port()
    settings = {"AMQP_URL": f"amqp://127.0.0.1:{free_port()}", "AUTH_PORT": str(port), "AUTH_EVENT_STREAMS": "100"}
    async with process(ulimit, **settings) as edge:
        await until_it_answers(f"http://127.0.0.1:{port}/health/live")
        soft, _ = resource.prlimit(edge.pid, resource.RLIMIT_NOFILE)
        edge.terminate()
        _, log = await edge.communicate()

    assert soft == allowed
    assert (b"not enough files may be open" in log) == (allowed == 512)


async def test_invalid_settings() -> None:
    """A missing setting ends the start with one line that names it."""
    async with process(AMQP_URL="") as edge:
        _, log = await edge.communicate()

    assert edge.returncode == EX_CONFIG
    assert log.decode().splitlines() == ["configuration error: AMQP_URL: Field required"]
