"""Answers that a test gives in place of the database's own: the fail point `failCommand` of mongod.

Two implementations inject the same faults, so the tests run unchanged on both:

- `tests.faults.mongo_link.MongoLink`, a proxy in front of any server;
- `MongodFailPoints`, a mongod that was started with `--setParameter enableTestCommands=1`.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pytest
from motor.motor_asyncio import AsyncIOMotorClient

#: Commands that the adapters send. Index creation, handshakes and pings are not among them.
READS = ("find", "getMore", "distinct", "aggregate")
WRITES = ("insert", "update", "delete", "findAndModify")
COMMANDS = (*READS, *WRITES)
#: The name under which workers connect; mongod then answers the test's own connections truthfully.
APP_NAME = "jincor-auth"


@dataclass(frozen=True)
class FailCommand:
    """A fault. The fields are those of mongod's `failCommand`, unless their docstring says otherwise."""

    commands: Sequence[str]
    skip: int = 0
    """Matching commands that are answered truthfully before the first fault."""
    times: int | None = None
    """Number of faults; None: until the end of the test. Together with `skip` only the proxy knows it."""
    error_code: int | None = None
    """The command is not carried out, and answered with this error."""
    error_labels: Sequence[str] | None = None
    """None: those that mongod adds itself."""
    write_concern_error: int | None = None
    """The command is carried out, and its answer has this write concern error beside its result."""
    close_connection: bool = False
    """The connection is closed before the command is carried out."""
    close_after: bool = False
    """The connection is closed after the command was carried out. Only the proxy can do this."""
    block_ms: int = 0
    """The command is held up for this time first."""

    @property
    def only_proxy(self) -> bool:
        """Whether mongod's fail point has no such fault."""
        return self.close_after or bool(self.skip and self.times)

    def fail_point(self) -> dict[str, Any]:
        """Return the command that sets the fail point."""
        data: dict[str, Any] = {"failCommands": list(self.commands), "appName": APP_NAME}
        if self.error_code is not None:
            data["errorCode"] = self.error_code
        if self.error_labels is not None:
            data["errorLabels"] = list(self.error_labels)
        if self.write_concern_error is not None:
            data["writeConcernError"] = write_concern_error(self.write_concern_error)
        if self.close_connection:
            data["closeConnection"] = True
        if self.block_ms:
            data |= {"blockConnection": True, "blockTimeMS": self.block_ms}
        mode: Any = {"skip": self.skip} if self.skip else {"times": self.times} if self.times else "alwaysOn"
        return {"configureFailPoint": "failCommand", "mode": mode, "data": data}


class FaultyDatabase(Protocol):
    """A database with faults on request."""

    @property
    def url(self) -> str:
        """Return the URL for workers."""

    def failing(self, fault: FailCommand) -> contextlib.AbstractAsyncContextManager[object]:
        """Inject the fault until the context ends."""


class MongodFailPoints:
    """A mongod's own fail points."""

    def __init__(self, url: str) -> None:
        self.url = url

    @contextlib.asynccontextmanager
    async def failing(self, fault: FailCommand) -> AsyncIterator[None]:
        if fault.only_proxy:
            pytest.skip("mongod's failCommand has no such fault")
        client: AsyncIOMotorClient[Mapping[str, Any]] = AsyncIOMotorClient(self.url)
        try:
            await client.admin.command(fault.fail_point())
            yield
        finally:
            await client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
            client.close()


def write_concern_error(code: int) -> dict[str, Any]:
    """Return the error as mongod puts it into an answer. 64 is a timeout, and is marked as such."""
    timeout = {"errInfo": {"wtimeout": True}} if code == WTIMEOUT else {}
    return {"code": code, "codeName": f"Code{code}", "errmsg": "injected by a test", **timeout}


#: WriteConcernFailed: the majority did not confirm within `wtimeout`.
WTIMEOUT = 64
