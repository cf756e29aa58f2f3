"""A raw AMQP round trip without any work, with the library that the service uses.

`python -m bench.echo AMQP_URL` answers as a worker does; `connected_echo` calls as a client does.
"""

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aio_pika
import uvloop
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from shared.amqp.topology import DIRECT_REPLY_TO

ECHO_QUEUE: Final = "bench.echo"
#: About the size of a verification with its two tokens.
ECHO_BYTES: Final = 1024
#: As in worker/main.py.
PREFETCH: Final = 16
#: Printed when the echo is ready to answer.
READY: Final = "ready"


class AmqpEcho:
    """Sends confirmed messages and awaits their echo over direct reply-to; concurrent sends are possible."""

    def __init__(self, channel: AbstractChannel) -> None:
        self._channel = channel
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._numbers = itertools.count()

    async def send(self) -> None:
        call_id = str(next(self._numbers))
        answer = self._waiting[call_id] = asyncio.get_running_loop().create_future()
        message = aio_pika.Message(b"x" * ECHO_BYTES, correlation_id=call_id, reply_to=DIRECT_REPLY_TO)
        await self._channel.default_exchange.publish(message, ECHO_QUEUE, mandatory=True)
        await answer

    async def on_reply(self, reply: AbstractIncomingMessage) -> None:
        self._waiting.pop(reply.correlation_id or "").set_result(None)


@asynccontextmanager
async def connected_echo(amqp_url: str) -> AsyncIterator[AmqpEcho]:
    """Connect to the echo that another process serves on this broker."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        echo = AmqpEcho(channel)
        replies = await channel.get_queue(DIRECT_REPLY_TO, ensure=False)
        await replies.consume(echo.on_reply, no_ack=True)
        yield echo


async def serve_echo(amqp_url: str) -> None:
    """Answer each message with a copy, until the process is killed."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=PREFETCH)

        async def echo(message: AbstractIncomingMessage) -> None:
            reply = aio_pika.Message(message.body, correlation_id=message.correlation_id)
            await channel.default_exchange.publish(reply, message.reply_to or "", mandatory=False)
            await message.ack()

        queue = await channel.declare_queue(ECHO_QUEUE, durable=True, auto_delete=True)
        await queue.consume(echo)
        print(READY, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve_echo(sys.argv[1]))  # as workers do
