"""A worker's memory under the largest requests that a caller may send."""

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
#: Leaves a margin below the limit.
MAX_MIB = 0.6 * LIMIT_MIB
#: Twice the prefetch of a worker.
REQUESTS = 32
PATIENCE_SECONDS = 60


def filled(before: bytes, unit: bytes, after: bytes) -> bytes:
    """Return the largest body of these parts that a worker reads."""
    room = AUTH_VERIFY.max_body_bytes - len(before) - len(after)
    return before + unit * (room // len(unit)) + after


def checks(size: int) -> bytes:
    """Return a body with the maximum number of checks, with tokens that fill the body."""
    token = "x" * (size // MAX_BATCH // 2 - 40)
    return json.dumps({"checks": [{"tenantToken": token, "token": token}] * MAX_BATCH}).encode()


BODIES = {
    # Unknown members are parsed too, each array into a vector of its own.
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
async def test_worker_under_the_largest_requests_stays_below_its_memory_limit(
    service: RunningService, kind: str
) -> None:
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
        with frozen(worker):  # so that its prefetch is full
            for _ in range(REQUESTS):
                await exchange.publish(request, AUTH_VERIFY.name)
        for _ in range(REQUESTS):
            await answered.get()
    assert peak_mib(worker) < MAX_MIB


def peak_mib(process: ChildProcess) -> float:
    """Return the peak memory of the process until now."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    assert found
    return int(found[1]) / 1024
