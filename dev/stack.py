"""The local stack: broker, database, workers and edge, started and stopped in order."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, NoReturn, Self

import httpx

from dev.mongo import MongoServer
from dev.ports import LOOPBACK, is_free
from dev.processes import POLL_SECONDS, ChildProcess, StackError
from dev.rabbitmq import RabbitNode
from dev.run_directory import RunDirectory, StackState
from dev.services import LANES, api_service, create_indexes, worker_service

READY_TIMEOUT_SECONDS: Final = 60


class LocalStack:
    """All processes of `make run`, with their files in one directory; an async context manager.

    With `amqp_url` it starts no broker, with `mongo_url` no database. Inside the context both attributes hold
    the URLs in use. Entering raises `StackError` if the stack cannot start, and leaves nothing running.
    """

    def __init__(
        self,
        directory: Path,
        port: int,
        *,
        amqp_url: str | None = None,
        mongo_url: str | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.url = f"http://{LOOPBACK}:{port}"
        self.amqp_url = amqp_url or ""
        self.mongo_url = mongo_url or ""
        self.children: list[ChildProcess] = []
        self._directory = RunDirectory(directory)
        self._port = port
        self._say = say
        self._undo = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as undo:
            undo.enter_context(self._directory.claimed())
            await self._directory.kill_leftovers()
            if not is_free(self._port):
                raise StackError(f"port {self._port} is in use; choose another with AUTH_PORT")
            await self._start_broker(undo)
            await self._start_database(undo)
            await self._report("indexes", create_indexes(self.mongo_url, self._directory.logs))
            await self._start_services(undo)
            self._directory.write_state(self._state())
            undo.callback(self._directory.remove_state)
            self._undo = undo.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._say("Stopping.")
        await self._undo.aclose()

    async def watch(self) -> NoReturn:
        """Wait until a process ends, then raise `StackError` with the end of its log."""
        while True:
            self._raise_if_any_ended()
            await asyncio.sleep(POLL_SECONDS)

    async def _start_broker(self, undo: AsyncExitStack) -> None:
        if self.amqp_url:
            return
        node = RabbitNode(self._directory.path / "rabbitmq", log_directory=self._directory.logs)
        self.amqp_url = node.amqp_url
        undo.push_async_callback(self._stop, node.process, node.stop)
        await self._report("RabbitMQ", node.start())
        self.children.append(node.process)

    async def _start_database(self, undo: AsyncExitStack) -> None:
        if self.mongo_url:
            return
        server = MongoServer(self._directory.path / "mongo", log_directory=self._directory.logs)
        self.mongo_url = server.url
        undo.push_async_callback(self._stop, server.process, server.stop)
        await self._report(server.product, server.start())
        self.children.append(server.process)

    async def _start_services(self, undo: AsyncExitStack) -> None:
        keys = self._directory.master_keys_file()
        workers = [
            worker_service(lanes, amqp_url=self.amqp_url, mongo_url=self.mongo_url, master_keys_file=keys)
            for lanes in LANES
        ]
        for service in [*workers, api_service(self._port, amqp_url=self.amqp_url)]:
            child = ChildProcess(service, self._directory.logs)
            undo.push_async_callback(self._stop, child, child.terminate)
            child.start()
            self.children.append(child)
        edge = self.children[-1]
        await self._report("workers and edge", edge.wait_until(self._is_ready, READY_TIMEOUT_SECONDS))

    async def _report(self, what: str, start: Awaitable[None]) -> None:
        began = time.monotonic()
        await start
        self._say(f"  {what}: ready after {time.monotonic() - began:.1f} s")

    async def _stop(self, child: ChildProcess, stop: Callable[[], Awaitable[int | None]]) -> None:
        was_running = child.running
        if await stop() == -signal.SIGKILL and was_running:
            self._say(f"  {child.name} did not stop in time and was killed")

    async def _is_ready(self) -> bool:
        self._raise_if_any_ended()
        try:
            # A proxy from the environment cannot reach this machine's loopback address.
            async with httpx.AsyncClient(trust_env=False) as http:
                return (await http.get(f"{self.url}/health/ready")).is_success
        except httpx.TransportError:
            return False

    def _raise_if_any_ended(self) -> None:
        for child in self.children:
            child.raise_if_ended()

    def _state(self) -> StackState:
        pids = {child.name: child.pid for child in self.children}
        return StackState(self.url, self.amqp_url, self.mongo_url, pids)
