"""The limits of a lane's queue on a real broker, also for a queue declared by an older worker."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage
from pamqp.common import FieldTable
from yarl import URL

from shared.amqp.connection import Connection
from shared.amqp.rpc_client import RpcClient
from shared.amqp.topology import (
    LANE_MAX_BYTES,
    LANE_MAX_LENGTH,
    MESSAGE_TTL_MS,
    QUORUM_EXPIRES_MS,
    QueueType,
    declare_exchanges,
    lane_queue,
)
from shared.contracts.operation import Done, Lane
from shared.contracts.user_delete import USER_DELETE, UserDeleteRequest
from shared.contracts.wire import WireModel
from tests.backends import Backend
from tests.fakes import ports
from worker.amqp.consumer import Consumer, Consumption
from worker.amqp.replies import Replies
from worker.domain.call import Call
from worker.domain.ports import Ports

PATIENCE_SECONDS = 30
REQUEST = UserDeleteRequest(tenant_token="t", login="somebody")
#: The declaration of older workers, without limits.
OLD_ARGUMENTS: dict[QueueType, FieldTable] = {
    QueueType.CLASSIC: {},
    QueueType.QUORUM: {"x-queue-type": "quorum", "x-expires": QUORUM_EXPIRES_MS},
}
WARNING = "queue has other limits than this worker's, and is used as it is"


@contextlib.asynccontextmanager
async def worker(amqp_url: str, queue_type: QueueType) -> AsyncIterator[None]:
    """A worker of the lane `manage`."""

    async def done(_request: WireModel, _call: Call, _ports: Ports) -> WireModel:
        return Done.now()

    consumption = Consumption(lane_queue(Lane.MANAGE, queue_type=queue_type), 16)
    async with Replies([amqp_url], "new replies") as replies:
        consumer = Consumer([consumption], {USER_DELETE.name: done}, ports(), replies)
        async with Connection([amqp_url], "new worker", consumer.setup) as connection:
            await asyncio.wait_for(connection.connected.wait(), PATIENCE_SECONDS)
            yield


@contextlib.asynccontextmanager
async def old_worker(amqp_url: str, queue_type: QueueType) -> AsyncIterator[None]:
    """A consumer of the queue as an older version declared it. It requeues every message."""
    name = lane_queue(Lane.MANAGE, queue_type=queue_type).name
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await declare_exchanges(channel)
        queue = await channel.declare_queue(
            name, durable=True, auto_delete=queue_type is QueueType.CLASSIC, arguments=OLD_ARGUMENTS[queue_type]
        )
        await queue.bind("rpc", USER_DELETE.name)
        await queue.consume(_requeue)
        yield


async def _requeue(message: AbstractIncomingMessage) -> None:
    await message.reject(requeue=True)


async def _arguments(backend: Backend, amqp_url: str, queue_type: QueueType) -> dict[str, object] | None:
    """Return the queue's arguments on the broker, or None without such a queue."""
    name = lane_queue(Lane.MANAGE, queue_type=queue_type).name
    vhost = URL(amqp_url).path.removeprefix("/")
    listed = json.loads(await backend.ctl(["-p", vhost, "list_queues", "name", "arguments", "--formatter", "json"]))
    return next(({key: value for key, _, value in row["arguments"]} for row in listed if row["name"] == name), None)


@pytest.mark.parametrize("queue_type", QueueType)
async def test_worker_uses_a_queue_without_limits_until_its_next_declaration(
    backend: Backend, amqp_url: str, rpc: RpcClient, queue_type: QueueType, caplog: pytest.LogCaptureFixture
) -> None:
    """A rolling update causes no gap, and a warning says when the limits apply."""
    async with old_worker(amqp_url, queue_type), worker(amqp_url, queue_type):
        (warning,) = [record for record in caplog.records if record.message.startswith(WARNING)]
        assert vars(warning)["queue"] == lane_queue(Lane.MANAGE, queue_type=queue_type).name
        for _ in range(3):
            assert await rpc.call(USER_DELETE, REQUEST, timeout_seconds=PATIENCE_SECONDS) == Done.now()
        assert "x-max-length" not in (await _arguments(backend, amqp_url, queue_type) or {})
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await _arguments(backend, amqp_url, queue_type) is not None:  # noqa: ASYNC110 - the broker removes it
            await asyncio.sleep(0.1)
    caplog.clear()
    async with worker(amqp_url, queue_type):
        assert await rpc.call(USER_DELETE, REQUEST, timeout_seconds=PATIENCE_SECONDS) == Done.now()
        assert not [record for record in caplog.records if record.message.startswith(WARNING)]
        limits = {
            "x-max-length": LANE_MAX_LENGTH,
            "x-max-length-bytes": LANE_MAX_BYTES,
            "x-overflow": "reject-publish",
            "x-message-ttl": MESSAGE_TTL_MS,
        }
        assert (await _arguments(backend, amqp_url, queue_type) or {}).items() >= limits.items()


async def test_lane_queue_beyond_its_bytes_refuses_messages(amqp_url: str) -> None:
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        rpc, _ = await declare_exchanges(channel)
        queue = await lane_queue(Lane.MANAGE).declare(channel)
        message = aio_pika.Message(bytes(LANE_MAX_BYTES // 4))
        taken = 0
        with contextlib.suppress(aio_pika.exceptions.DeliveryError):
            for _ in range(10):
                await rpc.publish(message, USER_DELETE.name)
                taken += 1
        assert taken == 4
        await queue.delete(if_unused=False, if_empty=False)
