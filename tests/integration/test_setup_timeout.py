"""The setup timeout of a connection. Setting up replicated queues takes long while a node is down."""

import asyncio
from collections.abc import Sequence

import pytest
from aio_pika.abc import AbstractChannel, AbstractConnection

from shared.amqp.connection import Connection

SETUP_SECONDS = 0.5


async def slow(connection: AbstractConnection) -> Sequence[AbstractChannel]:
    channel = await connection.channel()
    await asyncio.sleep(SETUP_SECONDS)
    return [channel]


async def test_setup_within_its_timeout_connects(amqp_url: str) -> None:
    async with Connection([amqp_url], "patient", slow, setup_timeout_seconds=20 * SETUP_SECONDS) as connection:
        async with asyncio.timeout(20 * SETUP_SECONDS):
            await connection.connected.wait()


async def test_setup_beyond_its_timeout_is_abandoned_for_the_next_node(
    amqp_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Connection([amqp_url], "hasty", slow, setup_timeout_seconds=SETUP_SECONDS / 10) as connection:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2 * SETUP_SECONDS):
                await connection.connected.wait()
    assert any(each.startswith("broker is not usable, trying again: ") for each in caplog.messages)
