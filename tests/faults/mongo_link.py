"""The link between a worker and its database, which can kill the worker at a given write."""

import asyncio
import os
import signal
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from tests.integration.proxy import Proxy

#: MongoDB Wire Protocol, "Standard Message Header": length, request, answered request, opcode.
HEADER = struct.Struct("<iiii")
OP_MSG = 2013
#: After the header of an OP_MSG come its flags and a kind, then the command's document: its length, and the type of
#: its first element, whose name is the command.
COMMAND_OFFSET = HEADER.size + 4 + 1 + 4 + 1
WRITES = {b"insert", b"update", b"delete"}


class Moment(Enum):
    """When the worker dies of a write."""

    BEFORE = "before"
    """Before the database receives the write."""
    AFTER = "after"
    """After the database did the write, and before the worker receives the answer."""


@dataclass
class Trap:
    """Waits for the n-th write, counted from 0, that contains one of the ids: of a user and its sessions."""

    ids: Sequence[bytes]
    write: int | None = None
    """None: the trap only counts."""
    moment: Moment = Moment.BEFORE
    seen: list[str] = field(default_factory=list)
    """The writes so far."""
    sprung: bool = False


class MongoLink(Proxy):
    """The link of one worker. Several links may share a trap, which kills the first worker that reaches it."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.trap: Trap | None = None
        self.pid = 0
        """The process id of the worker."""
        self.sprung = False
        """Whether the trap killed this worker."""
        self._fatal: set[int] = set()

    @property
    def url(self) -> str:
        # Otherwise the driver would connect to the address that the database reports.
        url = super().url
        return f"{url}{'&' if '?' in url else '?'}directConnection=true"

    async def pipe_there(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (message := await _message(reader)) is not None:
            if (moment := self._dies_of(message)) is Moment.BEFORE:
                return self._kill()
            if moment is Moment.AFTER:
                self._fatal.add(HEADER.unpack_from(message)[1])
            writer.write(message)
            await writer.drain()
        return writer.close()

    async def pipe_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (message := await _message(reader)) is not None:
            if HEADER.unpack_from(message)[2] in self._fatal:
                return self._kill()
            writer.write(message)
            await writer.drain()
        return writer.close()

    def _dies_of(self, message: bytes) -> Moment | None:
        command = message[COMMAND_OFFSET : COMMAND_OFFSET + 8].partition(b"\0")[0]
        trap = self.trap
        if trap is None or HEADER.unpack_from(message)[3] != OP_MSG or command not in WRITES:
            return None
        if not any(id_ in message for id_ in trap.ids):
            return None
        trap.seen.append(command.decode())
        if trap.sprung or trap.write is None or len(trap.seen) <= trap.write:
            return None
        trap.sprung = True
        return trap.moment

    def _kill(self) -> None:
        self._fatal.clear()
        self.sprung = True
        os.killpg(self.pid, signal.SIGKILL)


async def _message(reader: asyncio.StreamReader) -> bytes | None:
    """Return the next whole message, or None at the end."""
    try:
        header = await reader.readexactly(HEADER.size)
        return header + await reader.readexactly(HEADER.unpack(header)[0] - HEADER.size)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
