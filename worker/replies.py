"""Replies to requests, on connections of their own.

A reply goes to an address that came with the request, and an address at a node that is not there, made up or dead,
makes RabbitMQ end the connection it was published on (docs/decisions/0006). Were that the connection which consumes,
one message could take every worker of a lane down in turn, because it would be redelivered each time. And were it
the one that others' replies are on, those would be lost. So the first reply to a node goes out on trial, alone on a
connection; and what was sent in the moments before a connection is lost is sent again.
"""

import asyncio
import base64
import binascii
import functools
import logging
import re
import time
import uuid
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Self

from aio_pika import DeliveryMode
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import DeliveryError
from aiormq.abc import AbstractChannel as UnderlayChannel
from aiormq.exceptions import ConnectionInternalError
from pamqp.commands import Basic

from shared.amqp.connection import Connection, ConnectionLost, lost_connections
from shared.amqp.topology import ERROR_TYPE, JSON_TYPE, REPLY_TYPE
from shared.contracts.errors import AuthError, InternalError
from shared.contracts.wire import WireModel

log = logging.getLogger(__name__)

Outcome = WireModel | AuthError

#: How long a reply waits for a connection that is just coming back, or for its turn on trial. Callers wait longer.
RECONNECT_WAIT_SECONDS = 2.0
#: What a node that was not there is not tried again for: the replies to all who were connected to it come at once.
AWAY_SECONDS = 1.0
#: Of one reply: a connection may be lost by chance while it is on trial. More often, it is the reply.
MAX_TRIALS = 3
#: Half of what RabbitMQ 4 takes as a message (`max_message_size`), and more than any answer has: a larger one would end
#: the connection that it is sent on.
MAX_BODY_BYTES = 8 * 1024 * 1024
#: Nodes remembered, of either kind. A cluster has a handful; more are somebody's inventions.
MAX_NODES = 1_000
#: What was sent for so long before a loss is sent again, so many of them at most: the broker has not told which of
#: them it took. It is some milliseconds behind; and a reply that comes twice is dropped by its caller.
UNSURE_SECONDS = 0.5
MAX_UNSURE = 128

#: A process id as Erlang writes it (External Term Format, NEW_PID_EXT, of an atom in UTF-8), at a node whose name
#: RabbitMQ has replaced by a number.
PROCESS = re.compile(rb"\x83X(?:v\x00|w)(?P<length>.)(?P<node>reply@[0-9]{1,10}).{12}", re.DOTALL)


class _Reply(NamedTuple):
    address: str
    node: bytes
    body: bytes
    properties: Basic.Properties


class Replies:
    """Sends replies; an async context manager."""

    def __init__(self, urls: Sequence[str], name: str) -> None:
        self._channel: UnderlayChannel | None = None
        self._trial_channel: UnderlayChannel | None = None
        self._connection = Connection(urls, name, self._setup, self._doubt)
        self._trial_connection = Connection(urls, f"{name} on trial", self._setup_trial, self._end_trial)
        self._on_trial = asyncio.Lock()
        self._trial_ready = asyncio.Event()
        self._present: dict[bytes, float] = {}
        """Nodes that took a reply on trial since the other connection was lost, and when that was."""
        self._away: dict[bytes, float] = {}
        """Nodes that were not there, and when that was."""
        self._unsure: deque[tuple[float, _Reply]] = deque(maxlen=MAX_UNSURE)
        """With the time at which each was sent."""
        self._repeating: set[asyncio.Task[None]] = set()
        self._closing = False

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        await self._trial_connection.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._closing = True
        for task in self._repeating:
            task.cancel()
        await self._trial_connection.__aexit__(*exc_info)
        await self._connection.__aexit__(*exc_info)

    async def send(self, request: AbstractIncomingMessage, outcome: Outcome) -> None:
        """Answers a request. Not confirmed: a caller that is gone needs no answer. Raises `ConnectionLost`."""
        body = _body(outcome)
        if len(body) > MAX_BODY_BYTES:
            incident = uuid.uuid4().hex
            log.error("reply is too large", extra={"incident": incident, "bytes": len(body)})
            outcome = InternalError(incident=incident)
            body = _body(outcome)
        properties = Basic.Properties(
            content_type=JSON_TYPE,
            message_type=ERROR_TYPE if isinstance(outcome, AuthError) else REPLY_TYPE,
            correlation_id=request.correlation_id,
            delivery_mode=DeliveryMode.NOT_PERSISTENT,
        )
        address = request.reply_to or ""
        await self._send(_Reply(address, node_of(address), body, properties))

    async def _send(self, reply: _Reply) -> None:
        if reply.node not in self._present and await self._sent_on_trial(reply):
            return
        self._unsure.append((time.monotonic(), reply))
        with lost_connections():
            await _publish(await self._usable_channel(), reply)

    async def _sent_on_trial(self, reply: _Reply) -> bool:
        """Sends it alone, and sees what becomes of the connection. False: another has proved that the node is there."""
        with lost_connections():
            async with asyncio.timeout(RECONNECT_WAIT_SECONDS), self._on_trial:
                for _ in range(MAX_TRIALS):
                    if reply.node in self._present:
                        return False
                    if self._was_away(reply.node):
                        raise ConnectionLost("no node is at that address")
                    await self._trial_ready.wait()
                    if await self._proves_present(reply):
                        return True
                raise ConnectionLost("no connection outlives that reply")

    async def _proves_present(self, reply: _Reply) -> bool:
        """Whether it was sent and confirmed. If not, its node is away, or the connection was lost by chance."""
        if self._trial_channel is None:  # lost in the very moment
            return False
        try:
            with lost_connections():
                await _publish(self._trial_channel, reply)
        except DeliveryError:  # the broker has not taken it, and goes on
            return False
        except ConnectionLost as lost:
            self._end_trial()
            if isinstance(lost.__cause__, ConnectionInternalError):
                _remember(self._away, reply.node)
            return False
        _remember(self._present, reply.node)
        return True

    def _was_away(self, node: bytes) -> bool:
        return time.monotonic() - self._away.get(node, float("-inf")) < AWAY_SECONDS

    async def _usable_channel(self) -> UnderlayChannel:
        if not self._connection.connected.is_set():
            async with asyncio.timeout(RECONNECT_WAIT_SECONDS):
                await self._connection.connected.wait()
        if self._channel is None:
            raise ConnectionLost("no channel for replies")
        return self._channel

    def _doubt(self) -> None:
        """Perhaps a node has gone: each is on trial again, with the replies of the last moments first."""
        self._present.clear()
        recent = time.monotonic() - UNSURE_SECONDS
        unsure = [reply for sent_at, reply in self._unsure if sent_at > recent]
        self._unsure.clear()
        if unsure and not self._closing:
            task = asyncio.create_task(self._repeat(unsure))
            self._repeating.add(task)
            task.add_done_callback(self._repeating.discard)

    async def _repeat(self, replies: Sequence[_Reply]) -> None:
        lost = 0
        for reply in replies:
            try:
                await self._send(reply)
            except ConnectionLost:
                lost += 1
        log.info("replies of the last moments are sent again", extra={"replies": len(replies), "lost": lost})

    async def _setup(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        channel = await connection.channel(publisher_confirms=False)
        self._channel = await channel.get_underlay_channel()
        return [channel]

    async def _setup_trial(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        channel = await connection.channel(publisher_confirms=True)
        self._trial_channel = await channel.get_underlay_channel()
        self._trial_ready.set()
        return [channel]

    def _end_trial(self) -> None:
        self._trial_channel = None
        self._trial_ready.clear()


@functools.lru_cache(maxsize=1024)  # a caller's address is always the same
def node_of(address: str) -> bytes:
    """The node of an address of direct reply-to, `amq.rabbitmq.reply-to.<process>.<key>`.

    An address that is not made like that is one for itself: no other may be harmed by it, nor be taken for present.
    """
    try:
        process = base64.b64decode(address.split(".")[3], validate=True)
    except (IndexError, binascii.Error):
        return address.encode()
    match = PROCESS.fullmatch(process)
    return match["node"] if match and match["length"][0] == len(match["node"]) else address.encode()


def _body(outcome: Outcome) -> bytes:
    return (outcome.to_reply() if isinstance(outcome, AuthError) else outcome).to_json()


def _remember(nodes: dict[bytes, float], node: bytes) -> None:
    if len(nodes) >= MAX_NODES:
        nodes.clear()
    nodes[node] = time.monotonic()


async def _publish(channel: UnderlayChannel, reply: _Reply) -> None:
    await channel.basic_publish(reply.body, routing_key=reply.address, properties=reply.properties, mandatory=False)
