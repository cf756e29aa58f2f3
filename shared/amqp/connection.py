"""A connection to the broker that reconnects, and repeats its whole setup after each loss.

The robust connection of aio-pika restores channels, queues and consumers one by one, in a different
way for each kind of loss (docs/decisions/0004). This module has one path: the loss of the
connection, or of a channel on it, closes everything, and the same setup runs again.
"""

import asyncio
import contextlib
import itertools
import logging
import random
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Self

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import DeliveryError
from aiormq.exceptions import IncompatibleProtocolError, InvalidFrameError, ProbableAuthenticationError
from yarl import URL

from .jitter import jittered

log = logging.getLogger(__name__)

#: The client notices a dead peer after about three heartbeats. With the default of one minute, that
#: takes three minutes.
HEARTBEAT_SECONDS = 5
#: The ports of AMQP without and with TLS.
DEFAULT_PORTS = {"amqp": 5672, "amqps": 5671}
#: Limit for one connection attempt to one node.
CONNECT_TIMEOUT_SECONDS = 5.0
#: Limit for the setup of a new connection: declare its queues and start its consumers.
SETUP_TIMEOUT_SECONDS = 5.0
#: The same limit for replicated queues. The broker creates each on all its nodes and waits for a
#: node that is away: 8 s a queue with RabbitMQ 4.0 in containers. If the node does not answer at
#: all, the first queue takes a minute. A worker of all lanes has six queues.
REPLICATED_SETUP_TIMEOUT_SECONDS = 90.0
#: Backoff between connection attempts, with jitter. It is short so that processes use a returned
#: broker within a second or two.
FIRST_BACKOFF_SECONDS = 0.1
LAST_BACKOFF_SECONDS = 1.0
#: A connection that lasts longer than this resets the backoff; a shorter one increases it.
STABLE_SECONDS = 10.0

#: Problem of a server that answers, but not in AMQP.
NOT_AMQP = "answer is not AMQP, perhaps the port belongs to another protocol or to TLS"

Setup = Callable[[AbstractConnection], Awaitable[Sequence[AbstractChannel]]]
"""Sets up a new connection and returns the channels whose loss counts as loss of the connection."""


class ConnectionLost(Exception):
    """The connection or channel in use is lost or is closing."""


@contextlib.contextmanager
def lost_connections() -> Iterator[None]:
    """Convert exceptions of the libraries on a lost connection into `ConnectionLost`.

    The libraries raise their own errors, socket errors, a bare `Exception`, or a `CancelledError`
    that no task requested. A `DeliveryError` passes unchanged: it is about one message, not the
    connection.
    """
    try:
        yield
    except asyncio.CancelledError:
        if _cancelled():
            raise
        raise ConnectionLost("cancelled by the library") from None
    except Exception as error:
        if _cancelled():  # the library swallowed a cancellation that arrived at the same time
            raise asyncio.CancelledError from error
        if isinstance(error, DeliveryError):
            raise
        raise ConnectionLost(f"{type(error).__name__}: {error}") from error


def _cancelled() -> bool:
    """Return whether the current task has been cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def broker_url(text: str) -> URL:
    """Parse the address of a broker. Raises `ValueError` without the text, which may hold a
    password."""
    try:
        url = URL(text)
        if url.scheme in {"amqp", "amqps"} and url.host:
            return url
    except ValueError:
        pass
    raise ValueError("address of a broker must be amqp://user:password@host:port/vhost or amqps://…, percent-encoded")


def node_name(url: URL) -> str:
    """Return the host and port of a broker's address."""
    return f"{url.host}:{url.explicit_port or DEFAULT_PORTS[url.scheme]}"


def connect_problem(error: BaseException, url: URL) -> str:
    """Return why the connection to the broker at this address failed, on one line and without the
    password."""
    problem = next(filter(None, map(_known_problem, _chain(error))), f"{type(error).__name__}: {error}")
    if not problem.isprintable():
        problem = ascii(problem)
    return problem.replace(url.password, "***") if url.password else problem


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Return the exception and its causes, each once: two exceptions may be each other's causes."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _known_problem(error: BaseException) -> str | None:
    problem = None
    match error:
        case ProbableAuthenticationError():
            problem = "user name or password is refused"
        case InvalidFrameError() if "OpenOk" in str(error):  # RabbitMQ closes instead of opening the virtual host
            problem = "no such virtual host, or this user may not use it or has no more connections"
        case socket.gaierror():
            problem = f"host name cannot be resolved: {error.strerror}"
        case ConnectionRefusedError():
            problem = "connection is refused: nothing listens on this port"
        case ssl.SSLCertVerificationError():
            problem = f"TLS certificate is not accepted: {error.verify_message}"
        case ssl.SSLError():
            problem = f"TLS handshake failed, perhaps the port does not use TLS: {error.reason}"
        case InvalidFrameError() | IncompatibleProtocolError():
            problem = NOT_AMQP
        case asyncio.IncompleteReadError() if error.partial:
            problem = NOT_AMQP
        case TimeoutError():
            problem = "no answer in time"
    return problem


class Connection:
    """One AMQP connection of this process, as an async context manager that never blocks.

    Entering it starts a background task that connects, and returns at once. `connected` is set from
    the end of a successful setup until the next loss. `on_lost` is called once per loss, before
    reconnecting.
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
        """Connect to one of `urls`, trying them in turn from a random one; the broker lists the
        connection under `name`.

        `last_backoff_seconds` limits the waits after connections that were set up and soon lost,
        again and again.

        Raises `ValueError` for an invalid address, without the address, which may hold a password.
        """
        self._urls = [broker_url(url) for url in urls]
        # All processes get the same list. Without the shuffle all would use its first node.
        random.shuffle(self._urls)
        self._name = name
        self._setup = setup
        self._on_lost = on_lost
        self._setup_timeout_seconds = setup_timeout_seconds
        self._last_backoff_seconds = last_backoff_seconds
        self._task: asyncio.Task[None] | None = None
        self._lost: asyncio.Future[str] | None = None
        self.connected = asyncio.Event()
        self.error: ConnectionLost | None = None
        """Why there is no connection. None while connected, and before the first attempt has ended."""

    async def __aenter__(self) -> Self:
        if not self._urls:
            raise ValueError("at least one broker address is required")
        if self._task and not self._task.done():
            raise RuntimeError("connection is already entered")
        self._task = asyncio.create_task(self._stay_connected(), name=f"amqp {self._name}")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def drop(self, reason: str) -> None:
        """Close the connection and reconnect. For a caller that finds it unusable although it is
        still open."""
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
                problem = connect_problem(error.__cause__ or error, url)
                # A new exception, since the original refers to the URL and its password.
                self.error = ConnectionLost(f"broker {node_name(url)}: {problem}")
                log.warning(
                    "broker is not usable, trying again: %s: %s",
                    node_name(url),
                    problem,
                    extra={"connection": self._name, "host": url.host},
                )
            if time.monotonic() - started > STABLE_SECONDS:
                backoff = FIRST_BACKOFF_SECONDS
            else:
                backoff = min(2 * backoff, last_backoff)
            await asyncio.sleep(jittered(backoff))

    async def _connect_once(self, url: URL) -> None:
        """Connect and set up, then wait for the loss. Raises if the connection or its setup
        fails."""
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
                # If a queue is deleted, the broker cancels its consumer without closing the
                # channel.
                underlay = await channel.get_underlay_channel()
                underlay.on_consumer_cancel_callbacks.add(lambda _: lose(None, "consumer cancelled by the broker"))
            if connection.is_closed or any(channel.is_closed for channel in channels):
                lose(None)
            log.info("connected to the broker", extra={"connection": self._name, "host": url.host})
            self.error = None
            self.connected.set()
            reason = await lost
            self.error = ConnectionLost(f"connection to the broker {node_name(url)} is lost: {reason}")
            log.warning(
                "connection to the broker is lost, connecting again: %s", reason, extra={"connection": self._name}
            )
        finally:
            self.connected.clear()
            try:
                if self._on_lost:
                    self._on_lost()
            except Exception:  # the connection is closed in any case, and a cancellation passes
                log.exception("handler of a lost connection failed", extra={"connection": self._name})
            finally:
                await _close(connection)


async def _close(connection: AbstractConnection) -> None:
    """Close a connection that may already be dead, within one second."""
    try:
        with lost_connections():
            async with asyncio.timeout(1):
                await connection.close()
    except ConnectionLost as error:
        log.debug("connection was already dead when closed", extra={"error": str(error)})
