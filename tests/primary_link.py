"""A worker's link to its database, on which the primary can be cut off from the rest of its replica set."""

import asyncio
import struct
from typing import Any

import bson
from yarl import URL

from tests.integration.proxy import Proxy

#: MongoDB Wire Protocol, "Standard Message Header": length, request id, id of the answered request, opcode.
HEADER = struct.Struct("<iiii")
OP_MSG = 2013
#: The document of an OP_MSG follows its flags and the kind of its first section.
DOCUMENT_OFFSET = HEADER.size + 4 + 1
MAX_TIME_EXPIRED = 50


class PrimaryLink(Proxy):
    """Passes everything on. A deposed primary behaves like a mongod that has lost its majority and not noticed.

    It answers `hello`, local reads and majority reads as before. A linearizable read waits for a
    majority that does not reply, until `maxTimeMS` ends it with error 50.
    """

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.deposed = False
        self.linearizable_error: int | None = None
        """The error code with which linearizable reads are refused at once."""
        self.finds: list[Any] = []
        """The read concern levels of the `find` commands that were answered, in order."""
        self._finds: dict[int, Any] = {}

    @property
    def url(self) -> str:
        # Otherwise the driver would ask the database for its address, and go there.
        url = super().url
        return f"{url}{'&' if '?' in url else '?'}directConnection=true"

    async def lead_to(self, target: str) -> None:
        """Lead to another server from now on, as after the discovery of the new primary."""
        self._target, self.deposed = URL(target), False
        await self.cut()

    async def pipe_there(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (message := await _message(reader)) is not None:
            _, request_id, _, opcode = HEADER.unpack_from(message)
            if opcode == OP_MSG and "find" in (command := _document(message)):
                self._finds[request_id] = command
            writer.write(message)
            await writer.drain()
        writer.close()

    async def pipe_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (message := await _message(reader)) is not None:
            answered = HEADER.unpack_from(message)[2]
            if (command := self._finds.pop(answered, None)) is not None:
                level = command.get("readConcern", {}).get("level")
                if level == "linearizable" and self.linearizable_error is not None:
                    message = _error(answered, self.linearizable_error)
                elif level == "linearizable" and self.deposed:
                    await asyncio.sleep(command["maxTimeMS"] / 1000)
                    message = _error(answered, MAX_TIME_EXPIRED)
                self.finds.append(level)
            writer.write(message)
            await writer.drain()
        writer.close()


async def _message(reader: asyncio.StreamReader) -> bytes | None:
    """Return the next whole message, or None at the end."""
    try:
        header = await reader.readexactly(HEADER.size)
        return header + await reader.readexactly(HEADER.unpack(header)[0] - HEADER.size)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def _document(message: bytes) -> dict[str, Any]:
    length = int.from_bytes(message[DOCUMENT_OFFSET : DOCUMENT_OFFSET + 4], "little")
    return bson.decode(message[DOCUMENT_OFFSET : DOCUMENT_OFFSET + length])


def _error(answered: int, code: int) -> bytes:
    body = bytes(5) + bson.encode({"ok": 0.0, "code": code, "errmsg": "refused by the link"})
    return HEADER.pack(HEADER.size + len(body), 0, answered, OP_MSG) + body
