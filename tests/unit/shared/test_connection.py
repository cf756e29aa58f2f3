"""What counts as a lost connection, and what does not."""

import asyncio

import pytest
from aio_pika.exceptions import AMQPConnectionError, ChannelInvalidStateError, DeliveryError
from pamqp.commands import Basic

from shared.amqp.connection import ConnectionLost, lost_connections


@pytest.mark.parametrize(
    "error", [AMQPConnectionError("gone"), ChannelInvalidStateError(), OSError(), RuntimeError("closed"), Exception()]
)
def test_whatever_the_libraries_raise_is_a_loss(error: Exception) -> None:
    """The type of what was raised is told, because its text may be empty."""
    with pytest.raises(ConnectionLost, match=type(error).__name__), lost_connections():
        raise error


def test_what_the_broker_says_of_a_message_is_no_loss() -> None:
    """A message that was returned or refused says nothing about the connection."""
    with pytest.raises(DeliveryError), lost_connections():
        raise DeliveryError(None, Basic.Nack(1))


async def test_a_cancellation_that_nobody_asked_for_is_a_loss() -> None:
    """The libraries cancel what waits on a dying connection; its caller was not cancelled."""
    waiting = asyncio.get_running_loop().create_future()
    waiting.cancel()
    with pytest.raises(ConnectionLost), lost_connections():
        await waiting


async def test_a_cancellation_is_a_cancellation() -> None:
    """Who is cancelled, by a caller or by a deadline, ends as cancelled."""

    async def wait_for_ever() -> None:
        with lost_connections():
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wait_for_ever(), 0.001)
