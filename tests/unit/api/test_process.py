"""The edge as a process of its own, without a reachable broker."""

import asyncio
import os
import resource
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from shared.process.environment import EX_CONFIG

TIMEOUT_SECONDS = 120
#: The idle time of httpx, and Uvicorn's default.
CLIENTS_KEEP_SECONDS = 5


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@asynccontextmanager
async def process(ulimit: str = "-Sn 1024", arguments: str = "", **settings: str) -> AsyncIterator[Process]:
    """Run `python -m api` with these settings, arguments and this resource limit; kill it at the end."""
    edge = await asyncio.create_subprocess_exec(
        *("sh", "-c", f'ulimit {ulimit} && exec "$0" -m api {arguments}', sys.executable),
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
async def test_idle_connection_closes_after_the_setting_and_not_within_five_seconds_by_default(
    setting: dict[str, str], closes: bool
) -> None:
    """Many clients keep an idle connection for five seconds.

    If the edge closed first, a client could send a request that is never read.
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
async def test_edge_without_a_broker_answers_503_and_exits_0_on_a_signal(number: signal.Signals) -> None:
    """The log holds no traceback and no secret."""
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
async def test_descriptor_limit_rises_to_the_need_or_the_hard_limit_is_logged(ulimit: str, allowed: int) -> None:
    """The need follows from the number of event streams."""
    port = free_port()
    settings = {"AMQP_URL": f"amqp://127.0.0.1:{free_port()}", "AUTH_PORT": str(port), "AUTH_EVENT_STREAMS": "100"}
    async with process(ulimit, **settings) as edge:
        await until_it_answers(f"http://127.0.0.1:{port}/health/live")
        soft, _ = resource.prlimit(edge.pid, resource.RLIMIT_NOFILE)
        edge.terminate()
        _, log = await edge.communicate()

    assert soft == allowed
    assert (b"not enough files may be open" in log) == (allowed == 512)


@pytest.mark.parametrize("arguments", ["", "--check"])
async def test_empty_secret_file_ends_start_and_check_with_one_line(tmp_path: Path, arguments: str) -> None:
    file = tmp_path / "password"
    file.touch()
    settings = {
        "AMQP_URL": f"amqp://127.0.0.1:{free_port()}",
        "AUTH_PORT": str(free_port()),
        "AUTH_FORWARD_EMAIL": "shop@example.com",
        "AUTH_FORWARD_PASSWORD_FILE": str(file),
    }
    async with process(arguments=arguments, **settings) as edge:
        _, log = await edge.communicate()

    assert edge.returncode == EX_CONFIG
    assert log.decode().splitlines() == [f"configuration error: AUTH_FORWARD_PASSWORD_FILE: is empty: {file}"]


async def test_missing_setting_ends_the_start_with_one_line() -> None:
    async with process(AMQP_URL="") as edge:
        _, log = await edge.communicate()

    assert edge.returncode == EX_CONFIG
    assert log.decode().splitlines() == ["configuration error: AMQP_URL: Field required"]
