"""The backoff of a connection that is repeatedly set up and lost."""

import asyncio
from collections.abc import Sequence

import pytest
from aio_pika.abc import AbstractChannel, AbstractConnection

from shared.amqp.connection import LAST_BACKOFF_SECONDS, Connection

SECONDS = 6.0


@pytest.mark.parametrize(("last_backoff_seconds", "least", "most"), [(LAST_BACKOFF_SECONDS, 6, 20), (60.0, 3, 6)])
async def test_repeatedly_lost_connection_backs_off_up_to_the_last_backoff(
    amqp_url: str, last_backoff_seconds: float, least: int, most: int
) -> None:
    """The backoff doubles from 0.2 s, with a jitter of up to half."""
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
