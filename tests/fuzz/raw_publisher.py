"""A publisher of raw AMQP properties that no library would send."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeVar

from pamqp import commands, frame, header
from yarl import URL

CHANNEL = 1
BASIC_CLASS = 60
FRAME_HEADER_BYTES = 7
HEADER_FRAME, BODY_FRAME, FRAME_END = 2, 3, b"\xce"


ReceivedT = TypeVar("ReceivedT")


class Refused(Exception):
    """The broker closed the connection or the channel."""


@dataclass
class RawPublisher:
    """One connection and one channel with confirms."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def publish(self, exchange: str, routing_key: str, flags: int, properties: bytes, body: bytes) -> None:
        """Publish a message and wait for its confirm. Raise `Refused` if the broker closes connection or channel."""
        publish = commands.Basic.Publish(exchange=exchange, routing_key=routing_key)
        content = struct.pack(">HHQH", BASIC_CLASS, 0, len(body), flags) + properties
        self.writer.write(frame.marshal(publish, CHANNEL) + _framed(HEADER_FRAME, content))
        if body:
            self.writer.write(_framed(BODY_FRAME, body))
        await self.expect(commands.Basic.Ack)

    async def expect(self, kind: type[ReceivedT]) -> ReceivedT:
        """Read until the broker sends a frame of this kind, and return it."""
        while True:
            received = await self._next()
            if isinstance(received, kind):
                return received
            if isinstance(received, commands.Connection.Close | commands.Channel.Close):
                raise Refused(received.reply_text)

    async def _next(self) -> object:
        try:
            start = await self.reader.readexactly(FRAME_HEADER_BYTES)
            rest = await self.reader.readexactly(int.from_bytes(start[3:]) + len(FRAME_END))
        except (ConnectionError, asyncio.IncompleteReadError):
            raise Refused("the connection is closed") from None
        _, _, received = frame.unmarshal(start + rest)
        return received


@contextlib.asynccontextmanager
async def open_publisher(amqp_url: str) -> AsyncIterator[RawPublisher]:
    """Open a publisher on the virtual host of this URL."""
    url = URL(amqp_url)
    reader, writer = await asyncio.open_connection(url.host, url.port or 5672)
    try:
        publisher = RawPublisher(reader, writer)
        writer.write(header.ProtocolHeader().marshal())
        await publisher.expect(commands.Connection.Start)
        plain = f"\0{url.user}\0{url.password}"
        _send(writer, 0, commands.Connection.StartOk({}, "PLAIN", plain, "en_US"))
        tune = await publisher.expect(commands.Connection.Tune)
        _send(writer, 0, commands.Connection.TuneOk(CHANNEL, tune.frame_max, 0))
        _send(writer, 0, commands.Connection.Open(url.path.removeprefix("/") or "/"))
        await publisher.expect(commands.Connection.OpenOk)
        _send(writer, CHANNEL, commands.Channel.Open())
        await publisher.expect(commands.Channel.OpenOk)
        _send(writer, CHANNEL, commands.Confirm.Select())
        await publisher.expect(commands.Confirm.SelectOk)
        yield publisher
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def _send(writer: asyncio.StreamWriter, channel: int, command: frame.FrameTypes) -> None:
    writer.write(frame.marshal(command, channel))


def _framed(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, CHANNEL, len(payload)) + payload + FRAME_END
