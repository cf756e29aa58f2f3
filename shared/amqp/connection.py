"""A connection to the broker that comes back: what stands on it is built anew after each loss.

aio-pika's own robust connection restores channels, queues and consumers one by one, and each kind of loss restores
something else (docs/decisions/0004). Here there is one path: any loss, of the connection or of a channel on it, ends
all of it, and the same setup that ran first runs again.
"""

import asyncio
import contextlib
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Self

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import DeliveryError
from yarl import URL

log = logging.getLogger(__name__)

#: A dead peer is noticed after about three of these. The default of a minute means three minutes of silence.
HEARTBEAT_SECONDS = 5
CONNECT_TIMEOUT_SECONDS = 5.0
#: On a fresh connection, to declare and consume what stands on it.
SETUP_TIMEOUT_SECONDS = 5.0
#: For replicated queues. The broker makes a new one on all its nodes, and waits for one that is away: for each queue
#: 8 s with RabbitMQ 4.0 in containers, and a minute for the first if it went silent. A worker of every lane has six.
REPLICATED_SETUP_TIMEOUT_SECONDS = 90.0
#: Waits between attempts, with jitter. Short: a broker that is back should be used within a second or two.
FIRST_BACKOFF_SECONDS = 0.1
LAST_BACKOFF_SECONDS = 1.0
#: What lasted longer than this was a connection; what did not is tried again more and more slowly.
STABLE_SECONDS = 10.0

Setup = Callable[[AbstractConnection], Awaitable[Sequence[AbstractChannel]]]
"""Builds what stands on a fresh connection; answers the channels whose loss counts as its loss."""


class ConnectionLost(Exception):
    """What was used of the broker is gone, or going."""


@contextlib.contextmanager
def lost_connections() -> Iterator[None]:
    """Turns what the libraries raise on a connection that dies under them into `ConnectionLost`.

    That may be anything: their own errors, those of the socket, a bare `Exception`, and a `CancelledError` that nobody
    asked for. What a confirming broker says of one message (`DeliveryError`) is not about the connection.
    """
    try:
        yield
    except asyncio.CancelledError:
        if _cancelled():
            raise
        raise ConnectionLost("cancelled by the library") from None
    except Exception as error:
        if _cancelled():  # in this very moment, and the library took it for its own failure: nobody else knows
            raise asyncio.CancelledError from error
        if isinstance(error, DeliveryError):
            raise
        raise ConnectionLost(f"{type(error).__name__}: {error}") from error


def _cancelled() -> bool:
    """Whether somebody has asked the task at hand to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def broker_url(text: str) -> URL:
    """The address of a broker. Raises `ValueError`, and does not repeat it: it may hold a password."""
    try:
        url = URL(text)
        if url.scheme in {"amqp", "amqps"} and url.host:
            return url
    except ValueError:
        pass
    raise ValueError("address of a broker must be amqp://user:password@host:port/vhost or amqps://…, percent-encoded")


class Connection:
    """One AMQP connection of this process, as an async context manager; it never blocks its user.

    Entering it starts connecting in the background and returns at once. `connected` is set while setup has succeeded
    and nothing was lost since. `on_lost` is called once for each loss, before reconnecting.
    """

    def __init__(
        self,
        urls: Sequence[str],
        name: str,
        setup: Setup,
        on_lost: Callable[[], None] | None = None,
        *,
        setup_timeout_seconds: float = SETUP_TIMEOUT_SECONDS,
        last_backoff_seconds: float = LAST_BACKOFF_SECONDS,
    ) -> None:
        """`urls` are tried in turn, from one of them on; `name` is what the operator sees in the broker's connections.

        `last_backoff_seconds` bounds the waits after connections that were set up and lost soon, again and again.

        Raises `ValueError` for what is no address of a broker, without repeating it: it may hold a password.
        """
        self._urls = [broker_url(url) for url in urls]
        # All processes are given the same list, and would all be on its first node.
        random.shuffle(self._urls)
        self._name = name
        self._setup = setup
        self._on_lost = on_lost
        self._setup_timeout_seconds = setup_timeout_seconds
        self._last_backoff_seconds = last_backoff_seconds
        self._task: asyncio.Task[None] | None = None
        self._lost: asyncio.Future[str] | None = None
        self.connected = asyncio.Event()

    async def __aenter__(self) -> Self:
        if not self._urls:
            raise ValueError("no address of a broker")
        if self._task and not self._task.done():
            raise RuntimeError("entered already")
        self._task = asyncio.create_task(self._stay_connected(), name=f"amqp {self._name}")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def give_up(self, reason: str) -> None:
        """Ends it as if it were lost: what stands on it does not work any more, and nobody else has noticed."""
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(reason)

    async def _stay_connected(self) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        for url in itertools.cycle(self._urls):
            started, last_backoff = time.monotonic(), LAST_BACKOFF_SECONDS
            try:
                with lost_connections():
                    await self._connect_once(url)
                    last_backoff = self._last_backoff_seconds
            except (ConnectionLost, DeliveryError) as error:
                log.warning(
                    "broker is not usable, trying again",
                    extra={"connection": self._name, "host": url.host, "error": str(error)},
                )
            if time.monotonic() - started > STABLE_SECONDS:
                backoff = FIRST_BACKOFF_SECONDS
            else:
                backoff = min(2 * backoff, last_backoff)
            await asyncio.sleep(backoff * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret

    async def _connect_once(self, url: URL) -> None:
        """Returns when what was set up is lost; raises when it could not be set up."""
        lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._lost = lost

        def lose(_: object, error: object = None) -> None:
            if not lost.done():
                lost.set_result(f"{type(error).__name__}: {error}" if error else "closed")

        connection = await aio_pika.connect(
            url.update_query(heartbeat=HEARTBEAT_SECONDS),
            timeout=CONNECT_TIMEOUT_SECONDS,
            client_properties={"connection_name": self._name},
        )
        try:
            connection.close_callbacks.add(lose)
            async with asyncio.timeout(self._setup_timeout_seconds):
                channels = await self._setup(connection)
            for channel in channels:
                channel.close_callbacks.add(lose)
                # The broker ends a consumer without closing anything when its queue is deleted.
                underlay = await channel.get_underlay_channel()
                underlay.on_consumer_cancel_callbacks.add(lambda _: lose(None, "consumer cancelled by the broker"))
            if connection.is_closed or any(channel.is_closed for channel in channels):
                lose(None)
            log.info("connected to the broker", extra={"connection": self._name, "host": url.host})
            self.connected.set()
            reason = await lost
            log.warning(
                "connection to the broker is lost, connecting again", extra={"connection": self._name, "error": reason}
            )
        finally:
            self.connected.clear()
            try:
                if self._on_lost:
                    self._on_lost()
            except Exception:  # whatever its user failed at, the connection has to go, and a cancellation to pass
                log.exception("loss of a connection was not dealt with", extra={"connection": self._name})
            finally:
                await _close(connection)


async def _close(connection: AbstractConnection) -> None:
    """Closes what may already be dead: at most a second is spent on good manners."""
    try:
        with lost_connections():
            async with asyncio.timeout(1):
                await connection.close()
    except ConnectionLost as error:
        log.debug("closing a dead connection", extra={"error": str(error)})
