"""A TCP proxy between a client and its broker that a test can cut."""

import asyncio
import contextlib
from typing import Self

from yarl import URL

CHUNK = 65_536


class Proxy:
    """Forwards connections to the host and port of `target`; an async context manager."""

    def __init__(self, target: str) -> None:
        self.accepted = 0
        """The number of connections so far."""
        self._target = URL(target)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    @property
    def url(self) -> str:
        """The target's URL through the proxy."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()
        return str(self._target.with_host(host).with_port(port))

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        while self._connections:
            await self.cut()

    async def cut(self) -> None:
        """End every connection at once. New connections are accepted."""
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def hold(self) -> None:
        """Forward nothing in either direction and close nothing: a half-open link, as when a cable is pulled."""
        self._flowing.clear()

    def let_through(self) -> None:
        """Continue after `hold`, with the held data."""
        self._flowing.set()

    async def pipe_there(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward what the client sends until its end."""
        await self._pipe(reader, writer)

    async def pipe_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward what the target sends until its end."""
        await self._pipe(reader, writer)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.create_task(self._forward(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        # Also if the connection was cut before the task began.
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(self._target.host, self._target.port)
        except OSError:  # nobody listens there: the client's connection ends too
            return
        try:
            async with asyncio.TaskGroup() as pipes:
                pipes.create_task(self.pipe_there(reader, there_writer))
                pipes.create_task(self.pipe_back(there_reader, writer))
        finally:
            there_writer.transport.abort()

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(CHUNK):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
