"""A private MongoDB server: `mongod` if it is installed, otherwise SecantusDB, which speaks the same protocol."""

import os
import shutil
import sys
from pathlib import Path
from typing import Final

from dev.ports import LOOPBACK, accepts_connections, keep_ports
from dev.processes import ChildProcess, Service

START_TIMEOUT_SECONDS: Final = 60
STOP_GRACE_SECONDS: Final = 15
DATABASE: Final = "jincor_auth"


class MongoServer:
    """A server with its data and port in `directory`. `product` is `mongod` or `SecantusDB`."""

    def __init__(self, directory: Path, *, port: int | None = None, log_directory: Path | None = None) -> None:
        self.directory = directory.absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = keep_ports(self.directory / "ports.json", {"mongo": port})["mongo"]
        mongod = shutil.which("mongod")
        self.product = "mongod" if mongod else "SecantusDB"
        argv = self._mongod(mongod) if mongod else self._secantus()
        service = Service("mongo", argv, os.environ)
        self._server = ChildProcess(service, log_directory or self.directory / "logs")

    @property
    def url(self) -> str:
        # With retryable writes SecantusDB scans up to 10,000 records at each write, which takes 15 ms instead of 1 ms.
        options = "" if self.product == "mongod" else "?retryWrites=false"
        return f"mongodb://{LOOPBACK}:{self.port}/{DATABASE}{options}"

    @property
    def pid(self) -> int:
        return self._server.pid

    @property
    def process(self) -> ChildProcess:
        return self._server

    async def start(self) -> None:
        """Start the server and wait until it accepts connections. Raises `StackError` if it does not."""
        self._server.start()
        await self._server.wait_until(lambda: accepts_connections(self.port), START_TIMEOUT_SECONDS)

    async def stop(self) -> int | None:
        """Stop the server with SIGTERM and return its exit code. Does nothing if it is not running."""
        return await self._server.terminate(STOP_GRACE_SECONDS)

    async def kill(self) -> None:
        """Kill the server with SIGKILL, to simulate a crash; `start` restarts it with the same data and port."""
        await self._server.kill()

    def _mongod(self, program: str) -> list[str]:
        data = self.directory / "mongod"
        data.mkdir(exist_ok=True)
        return [program, "--dbpath", str(data), "--bind_ip", LOOPBACK, "--port", str(self.port)]

    def _secantus(self) -> list[str]:
        # No --sync-on-commit: writes that need an fsync request it with j: true.
        data = self.directory / "secantus"
        server = [sys.executable, "-m", "secantus", "--host", LOOPBACK, "--port", str(self.port)]
        return [*server, "--storage-path", str(data)]
