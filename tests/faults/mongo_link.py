"""A proxy between a worker and its database that knows commands.

It answers chosen commands with faults, as mongod's fail point `failCommand` does, and can kill the worker at a write.
"""

import asyncio
import contextlib
import os
import signal
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import bson

from tests.faults.fail_command import WRITES, FailCommand, write_concern_error
from tests.integration.proxy import Proxy

#: MongoDB Wire Protocol, "Standard Message Header": length, request, answered request, opcode.
HEADER = struct.Struct("<iiii")
OP_MSG = 2013
#: Opcodes of the first message of a connection, which asks for `hello`, and of its answer.
OP_QUERY, OP_REPLY = 2004, 1
#: After the header of an OP_MSG come its flags and a kind, then the command's document.
BODY_OFFSET = HEADER.size + 4 + 1
#: After the header of an OP_REPLY come flags, a cursor, and two numbers, then the document.
REPLY_OFFSET = HEADER.size + 20
#: Flag of an OP_MSG: another answer to the same request follows.
MORE_TO_COME = 2
HELLOS = {"hello", "ismaster", "isMaster"}
#: mongod adds the label `RetryableWriteError` to these errors of a command that the driver may repeat.
RETRYABLE_WRITE_ERRORS = {6, 7, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436}


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


@dataclass
class Injection:
    """A fault in force, and how often it was met."""

    fault: FailCommand
    matched: int = 0
    injected: int = 0

    def meets(self, command: str) -> bool:
        """Count a command. Return whether it is to meet the fault."""
        if command not in self.fault.commands:
            return False
        self.matched += 1
        if self.matched <= self.fault.skip or self.injected == self.fault.times:
            return False
        self.injected += 1
        return True


class MongoLink(Proxy):
    """The link of one worker, a `FaultyDatabase`.

    Several links may share a trap, which kills the first worker that reaches it.
    """

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.trap: Trap | None = None
        self.injection: Injection | None = None
        self.hello: Mapping[str, Any] = {}
        """Members that replace those of every answer to `hello`. Connections that are open keep their last answer
        until the driver asks again."""
        self.committed_database: str | None = None
        """Where reads with majority read concern go: a copy of the database from before the writes that no majority
        has yet. None: a majority has every write."""
        self.on_command: Callable[[Mapping[str, Any]], None] = lambda _: None
        """Called with each command, its documents and statements included, before the database gets it."""
        self._answers: dict[int, Mapping[str, Any]] = {}
        """By request: what replaces its answer."""
        self._write_concern_errors: dict[int, Mapping[str, Any]] = {}
        """By request: what is added to its answer."""
        self._unanswered: set[int] = set()
        self._hellos: set[int] = set()
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

    @contextlib.asynccontextmanager
    async def failing(self, fault: FailCommand) -> AsyncIterator[Injection]:
        """Inject the fault until the context ends."""
        self.injection = Injection(fault)
        try:
            yield self.injection
        finally:
            self.injection = None

    async def pipe_there(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (message := await _message(reader)) is not None:
            if (moment := self._dies_of(message)) is Moment.BEFORE:
                return self._kill()
            request = HEADER.unpack_from(message)[1]
            if moment is Moment.AFTER:
                self._fatal.add(request)
            command = _command(message)
            self.on_command({**command, **_sequences(message)})
            if next(iter(command), "") in HELLOS:
                self._hellos.add(request)
            elif self.injection and self.injection.meets(next(iter(command), "")):
                fault = self.injection.fault
                await asyncio.sleep(fault.block_ms / 1000)
                if fault.close_connection:
                    break
                message = self._with_fault(message, command, fault)
            elif self.committed_database and command.get("readConcern", {}).get("level") == "majority":
                message = _op_msg(request, 0, {**command, "$db": self.committed_database})
            await self._flowing.wait()
            writer.write(message)
            await writer.drain()
        return writer.close()

    async def pipe_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (message := await _message(reader)) is not None:
            answered = HEADER.unpack_from(message)[2]
            if answered in self._fatal:
                return self._kill()
            if answered in self._unanswered:
                self._unanswered.discard(answered)
                break
            await self._flowing.wait()
            writer.write(self._rewritten(message, answered))
            await writer.drain()
        return writer.close()

    def _with_fault(self, message: bytes, command: Mapping[str, Any], fault: FailCommand) -> bytes:
        """Return what the database gets instead of a command, and note what its answer becomes."""
        request = HEADER.unpack_from(message)[1]
        if fault.error_code is not None:
            self._answers[request] = {
                "ok": 0.0,
                "code": fault.error_code,
                "codeName": f"Code{fault.error_code}",
                "errmsg": "injected by a test",
                **_labels(fault, command, fault.error_code),
            }
            # The database answers a harmless command, so that connections stay in step.
            return _op_msg(request, 0, {"ping": 1, "$db": "admin"})
        if fault.write_concern_error is not None:
            self._write_concern_errors[request] = {
                "writeConcernError": write_concern_error(fault.write_concern_error),
                **_labels(fault, command, fault.write_concern_error),
            }
        if fault.close_after:
            self._unanswered.add(request)
        return message

    def _rewritten(self, message: bytes, answered: int) -> bytes:
        """Return the answer that the worker gets."""
        _, request, _, opcode = HEADER.unpack_from(message)
        if (answer := self._answers.pop(answered, None)) is not None:
            return _op_msg(request, answered, answer)
        if (addition := self._write_concern_errors.pop(answered, None)) is not None:
            return _op_msg(request, answered, {**bson.decode(message[BODY_OFFSET:]), **addition})
        if answered in self._hellos:
            self._hellos.discard(answered)
            if opcode == OP_MSG and int.from_bytes(message[HEADER.size : HEADER.size + 4], "little") & MORE_TO_COME:
                self._hellos.add(request)  # the next answer is to this one
            offset = BODY_OFFSET if opcode == OP_MSG else REPLY_OFFSET
            body = bson.encode({**bson.decode(message[offset:]), **self.hello})
            head = message[HEADER.size : offset]
            return HEADER.pack(HEADER.size + len(head) + len(body), request, answered, opcode) + head + body
        return message

    def _dies_of(self, message: bytes) -> Moment | None:
        trap = self.trap
        if trap is None or (command := next(iter(_command(message)), "")) not in WRITES:
            return None
        if not any(id_ in message for id_ in trap.ids):
            return None
        trap.seen.append(command)
        if trap.sprung or trap.write is None or len(trap.seen) <= trap.write:
            return None
        trap.sprung = True
        return trap.moment

    def _kill(self) -> None:
        self._fatal.clear()
        self.sprung = True
        os.killpg(self.pid, signal.SIGKILL)


def _command(message: bytes) -> dict[str, Any]:
    """Return the document of a command, whose first member names it. Its documents to write are not included."""
    opcode = HEADER.unpack_from(message)[3]
    if opcode == OP_MSG:
        offset = BODY_OFFSET
    elif opcode == OP_QUERY:
        offset = message.index(b"\0", HEADER.size + 4) + 1 + 8
    else:
        return {}
    size = int.from_bytes(message[offset : offset + 4], "little")
    return bson.decode(message[offset : offset + size])


def _sequences(message: bytes) -> dict[str, list[dict[str, Any]]]:
    """Return the documents and statements that the driver sends beside a command's document, by their name in it."""
    found: dict[str, list[dict[str, Any]]] = {}
    if HEADER.unpack_from(message)[3] != OP_MSG:
        return found
    at = BODY_OFFSET + int.from_bytes(message[BODY_OFFSET : BODY_OFFSET + 4], "little")
    # Each further section has a kind, its length, its name and its documents. The driver neither
    # compresses messages nor adds checksums.
    while at < len(message):
        end = at + 1 + int.from_bytes(message[at + 1 : at + 5], "little")
        name_end = message.index(b"\0", at + 5)
        found[message[at + 5 : name_end].decode()] = bson.decode_all(message[name_end + 1 : end])
        at = end
    return found


def _op_msg(request: int, answered: int, body: Mapping[str, Any]) -> bytes:
    document = b"\0\0\0\0\0" + bson.encode(body)
    return HEADER.pack(HEADER.size + len(document), request, answered, OP_MSG) + document


def _labels(fault: FailCommand, command: Mapping[str, Any], code: int) -> dict[str, Any]:
    if fault.error_labels is not None:
        return {"errorLabels": list(fault.error_labels)}
    return {"errorLabels": ["RetryableWriteError"]} if "txnNumber" in command and code in RETRYABLE_WRITE_ERRORS else {}


async def _message(reader: asyncio.StreamReader) -> bytes | None:
    """Return the next whole message, or None at the end."""
    try:
        header = await reader.readexactly(HEADER.size)
        return header + await reader.readexactly(HEADER.unpack(header)[0] - HEADER.size)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
