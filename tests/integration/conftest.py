"""A worker's consumer in the test process, on a real broker, with replaceable operations."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

import pytest_asyncio

from shared.amqp.connection import Connection
from shared.amqp.rpc_client import RpcClient
from shared.amqp.topology import LANE_MAX_LENGTH, LaneQueue, QueueType
from tests.fakes import ports
from tests.integration.broker_users import broker
from worker.amqp.consumer import Consumer, Consumption
from worker.amqp.replies import Replies
from worker.operations import Handler

#: The `broker` fixture is imported here so that pytest finds it.
__all__ = ["broker"]

Serve = Callable[..., contextlib.AbstractAsyncContextManager[Consumer]]


@pytest_asyncio.fixture
async def rpc(amqp_url: str) -> AsyncIterator[RpcClient]:
    async with RpcClient([amqp_url], "test") as client:
        await client.connected.wait()
        yield client


@pytest_asyncio.fixture
async def serve(amqp_url: str) -> Serve:
    """Serve these handlers on a queue of their own until the block ends."""

    @contextlib.asynccontextmanager
    async def serving(
        handlers: Mapping[str, Handler],
        prefetch: int = 16,
        max_length: int = LANE_MAX_LENGTH,
        queue_type: QueueType = QueueType.CLASSIC,
    ) -> AsyncIterator[Consumer]:
        queue = LaneQueue(f"rpc.test.{queue_type}", tuple(handlers), max_length, queue_type)
        async with Replies([amqp_url], "test replies") as replies:
            consumer = Consumer([Consumption(queue, prefetch)], handlers, ports(), replies)
            async with Connection([amqp_url], "test worker", consumer.setup) as connection:
                await connection.connected.wait()
                yield consumer

    return serving
