"""A connection that is set up and lost again and again comes back more and more slowly, if it is told to."""

import asyncio
from collections.abc import Sequence

import pytest
from aio_pika.abc import AbstractChannel, AbstractConnection

from shared.amqp.connection import LAST_BACKOFF_SECONDS, Connection

SECONDS = 6.0


@pytest.mark.parametrize(("last_backoff_seconds", "least", "most"), [(LAST_BACKOFF_SECONDS, 6, 20), (60.0, 3, 6)])
async def test_who_ends_its_connection_again_and_again_waits_longer(
    amqp_url: str, last_backoff_seconds: float, least: int, most: int
) -> None:
    """Waits double up to the last: 0.2, 0.4, 0.8 seconds and so on, with jitter of up to half."""
    opened = 0

    async def end(_: AbstractConnection) -> Sequence[AbstractChannel]:
        nonlocal opened
        opened += 1
        asyncio.get_running_loop().call_soon(connection.drop, "ended by its peer")
        return []

    connection = Connection([amqp_url], "ended", end, last_backoff_seconds=last_backoff_seconds)
    async with connection:
        await asyncio.sleep(SECONDS)
    assert least <= opened <= most
