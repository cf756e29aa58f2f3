"""How much memory a worker takes under the largest requests that a caller may send: less than a container allows."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aio_pika
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractIncomingMessage

from dev.processes import ChildProcess
from shared.amqp.topology import DIRECT_REPLY_TO, JSON_TYPE, RPC_EXCHANGE
from shared.contracts.auth_verify import AUTH_VERIFY, MAX_BATCH
from tests.backends import Backend
from tests.integration.test_processes import frozen
from tests.service import RunningService, running_service

#: A worker's limit in docker-compose.prod.yml and in deploy/kubernetes.
LIMIT_MIB = 256
#: "Well below": what a worker may take at most.
MOST_MIB = 0.6 * LIMIT_MIB
#: Twice what a worker holds at a time.
REQUESTS = 32
PATIENCE_SECONDS = 60


def filled(before: bytes, unit: bytes, after: bytes) -> bytes:
    """The largest body of these parts that a worker reads."""
    room = AUTH_VERIFY.max_body_bytes - len(before) - len(after)
    return before + unit * (room // len(unit)) + after


def checks(size: int) -> bytes:
    """As many checks as a request may have, with tokens that fill it."""
    token = "x" * (size // MAX_BATCH // 2 - 40)
    return json.dumps({"checks": [{"tenantToken": token, "token": token}] * MAX_BATCH}).encode()


BODIES = {
    # Members that are not known are parsed all the same, each array into a vector of its own.
    "nested": filled(b'{"checks":[{"tenantToken":"t","token":"t"}],"x":[', b"[[[[]]]],", b"0]}"),
    "members": filled(b'{"checks":[{"tenantToken":"t","token":"t"}],"x":{', b'"a":0,', b'"z":0}}'),
    "too many checks": filled(b'{"checks":[', b'{"tenantToken":"t","token":"t"},', b"0]}"),
    "checks": checks(AUTH_VERIFY.max_body_bytes),
    "refused unread": b" " * (2 * AUTH_VERIFY.max_body_bytes),
}


@pytest_asyncio.fixture
async def service(backend: Backend, tmp_path: Path) -> AsyncIterator[RunningService]:
    async with running_service(tmp_path, await backend.vhost(), backend.database_url(), edges=0) as running:
        yield running


@pytest.mark.parametrize("kind", BODIES)
async def test_a_worker_stays_below_its_limit_under_the_largest_requests(service: RunningService, kind: str) -> None:
    """A caller sends more of them than the worker holds at a time; all are answered, and the peak of its memory is well
    below what its container may take."""
    worker = service.processes["worker-verify-0"]
    async with await aio_pika.connect(service.amqp_url) as connection, asyncio.timeout(PATIENCE_SECONDS):
        channel = await connection.channel()
        answered: asyncio.Queue[bytes] = asyncio.Queue()
        replies = await channel.get_queue(DIRECT_REPLY_TO, ensure=False)

        async def on_reply(message: AbstractIncomingMessage) -> None:
            await answered.put(message.body)

        await replies.consume(on_reply, no_ack=True)
        exchange = await channel.get_exchange(RPC_EXCHANGE, ensure=False)
        request = aio_pika.Message(BODIES[kind], content_type=JSON_TYPE, reply_to=DIRECT_REPLY_TO)
        with frozen(worker):  # so that it holds as many as it ever does
            for _ in range(REQUESTS):
                await exchange.publish(request, AUTH_VERIFY.name)
        for _ in range(REQUESTS):
            await answered.get()
    assert peak_mib(worker) < MOST_MIB


def peak_mib(process: ChildProcess) -> float:
    """The most memory that the process has had so far."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    assert found
    return int(found[1]) / 1024
