"""What the machine and the libraries can do with none of this service's work in it."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Self

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from argon2 import PasswordHasher
from motor.motor_asyncio import AsyncIOMotorClient

DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"
ECHO_QUEUE = "bench.echo"
#: About as much as a verification with its two tokens.
ECHO_BYTES = 1024


async def p50_ms(action: Callable[[], Awaitable[object]], seconds: float) -> float:
    """The median time of an action that is done again and again, one at a time."""
    taken = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        await action()
        taken.append(time.perf_counter() - began)
    return 1000 * statistics.median(taken)


class AmqpEcho:
    """One confirmed message there and back over direct reply-to; `serve_echo` answers it."""

    def __init__(self, channel: AbstractChannel) -> None:
        self._channel = channel
        self._answer: asyncio.Future[None] | None = None

    async def send(self) -> None:
        self._answer = asyncio.get_running_loop().create_future()
        message = aio_pika.Message(b"x" * ECHO_BYTES, reply_to=DIRECT_REPLY_TO)
        await self._channel.default_exchange.publish(message, ECHO_QUEUE, mandatory=True)
        await self._answer

    async def on_reply(self, _: AbstractIncomingMessage) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_result(None)


@asynccontextmanager
async def connected_echo(amqp_url: str) -> AsyncIterator[AmqpEcho]:
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        echo = AmqpEcho(channel)
        replies = await channel.get_queue(DIRECT_REPLY_TO, ensure=False)
        await replies.consume(echo.on_reply, no_ack=True)
        yield echo


async def serve_echo(amqp_url: str) -> None:
    """Answers each message with itself, until it is killed."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=16)

        async def echo(message: AbstractIncomingMessage) -> None:
            reply = aio_pika.Message(message.body)
            await channel.default_exchange.publish(reply, message.reply_to or "", mandatory=False)
            await message.ack()

        queue = await channel.declare_queue(ECHO_QUEUE, durable=True, auto_delete=True)
        await queue.consume(echo)
        print("ready", flush=True)
        await asyncio.Event().wait()


class Database:
    """The stack's database, through the driver that the workers use; a context manager."""

    def __init__(self, mongo_url: str) -> None:
        self._client: AsyncIOMotorClient[dict[str, object]] = AsyncIOMotorClient(mongo_url)
        self._database = self._client.get_default_database()
        self._session_id: object = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._client.close()

    async def find_session(self) -> None:
        """Finds one session by its id."""
        if self._session_id is None:
            self._session_id = (await self._any("sessions"))["_id"]
        await self._database["sessions"].find_one({"_id": self._session_id})

    async def stored_hash(self) -> str:
        """The password hash of the one user there is. It names its own parameters."""
        return str((await self._any("users"))["password_hash"])

    async def _any(self, collection: str) -> dict[str, object]:
        found: dict[str, object] | None = await self._database[collection].find_one({})
        if found is None:
            raise LookupError(f"{collection} is empty")
        return found


def argon2_per_second(password_hash: str, password: str, threads: int, seconds: float) -> float:
    """Bare verifications of this very hash, so with its parameters, on so many threads."""
    hasher = PasswordHasher()
    began = time.perf_counter()

    def work(_: int) -> int:
        done = 0
        while time.perf_counter() < began + seconds:
            hasher.verify(password_hash, password)
            done += 1
        return done

    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(work, range(threads)))
    return done / (time.perf_counter() - began)
