"""examples/node, installed by npm from its lock file and run against the service."""

import asyncio
import os
import re
import shutil
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import aio_pika
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractChannel

from dev.asyncapi.document import document
from dev.processes import REPOSITORY
from shared.amqp.topology import RPC_EXCHANGE, declare_exchanges
from tests.backends import Backend
from tests.conformance import Declared
from tests.firehose import all_answered, open_firehose
from tests.integration.proxy import Proxy
from tests.service import RunningService

NODE, NPM = shutil.which("node"), shutil.which("npm")
#: Longer than the example waits for anything.
TIMEOUT_SECONDS = 60

pytestmark = pytest.mark.skipif(not (NODE and NPM) and "CI" not in os.environ, reason="node and npm are not installed")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example with the packages of its lock file."""
    assert NODE, "CI installs node"
    assert NPM, "CI installs npm"
    directory = tmp_path_factory.mktemp("example") / "node"
    shutil.copytree(REPOSITORY / "examples" / "node", directory, ignore=shutil.ignore_patterns("node_modules"))
    code, output = await _run(directory, NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    if code and "CI" not in os.environ:
        pytest.skip(f"npm ci: {output[-1]}")
    assert code == 0, output
    return directory


async def _run(directory: Path, *command: str, **env: str) -> tuple[int | None, list[str]]:
    """Run a command and return its exit code and output lines."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=directory, env={**os.environ, **env}, stdout=PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode().splitlines()


async def _start(example: Path, amqp_url: str, key: str = "let-me-in-please") -> tuple[int | None, list[str]]:
    return await _run(example, str(NODE), "main.js", AMQP_URL=amqp_url, AUTH_REGISTRATION_KEY=key)


async def test_node_example_sees_its_session_begin_and_end(
    example: Path, service: RunningService, backend: Backend
) -> None:
    """Every message is a declared one."""
    async with open_firehose(backend, service.amqp_url) as firehose:
        code, lines = await _start(example, service.amqp_url)
        assert code == 0, lines
        await firehose.wait_for(all_answered)
    assert re.fullmatch(r"registered tenant:[0-9a-f-]{36}@example\.com", lines[0])
    assert lines[1:] == ["verified ann: orders:read", "revoked this session: logout", "refused: invalid_token"]
    assert {name for name, _ in Declared(document()).identify(firehose.published)} >= {
        *(
            f"{name}.{kind}"
            for name in ("tenant.register", "auth.verify", "auth.logout")
            for kind in ("request", "reply")
        ),
        "session.revoked",
    }


async def test_node_example_reports_the_code_of_a_refusal(example: Path, service: RunningService) -> None:
    code, lines = await _start(example, service.amqp_url, key="a wrong key")
    assert (code, lines) == (1, ["failed: registration_forbidden: registration is not allowed from here"])


@pytest_asyncio.fixture
async def channel(amqp_url: str) -> AsyncIterator[AbstractChannel]:
    """A channel on an empty virtual host without workers."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await declare_exchanges(channel)
        yield channel


@pytest.mark.parametrize(
    ("queue", "failure"),
    [
        (None, "unavailable: no broker or no worker"),
        ({"x-max-length": 0, "x-overflow": "reject-publish"}, "overloaded: the queue is full"),
        ({}, "deadline_exceeded: no answer in time"),
    ],
)
async def test_node_example_distinguishes_no_worker_full_queue_and_deadline(
    example: Path, channel: AbstractChannel, amqp_url: str, queue: dict[str, str | int] | None, failure: str
) -> None:
    if queue is not None:
        waiting = await channel.declare_queue("rpc.password", exclusive=True, arguments=dict(queue))
        await waiting.bind(RPC_EXCHANGE, "tenant.register")
    assert await _start(example, amqp_url) == (1, [f"failed: {failure}"])


async def test_node_example_fails_a_call_when_its_connection_is_lost(
    example: Path, channel: AbstractChannel, amqp_url: str
) -> None:
    """The call does not wait for its deadline."""
    queue = await channel.declare_queue("rpc.password", exclusive=True)
    await queue.bind(RPC_EXCHANGE, "tenant.register")
    async with Proxy(amqp_url) as proxy, asyncio.TaskGroup() as tasks:
        running = tasks.create_task(_start(example, proxy.url))
        async with asyncio.timeout(TIMEOUT_SECONDS), queue.iterator(no_ack=True) as requests:
            await anext(requests)
        await proxy.cut()
    code, lines = running.result()
    assert code == 1
    assert len(lines) == 1
    assert lines[0].startswith("failed: ")
    assert "deadline_exceeded" not in lines[0]


async def test_node_example_without_a_broker_hides_the_password_of_the_url(example: Path) -> None:
    code, lines = await _start(example, "amqp://ann:hunter22@127.0.0.1:1")
    assert (code, lines) == (1, ["failed: ECONNREFUSED: connect ECONNREFUSED 127.0.0.1:1"])
