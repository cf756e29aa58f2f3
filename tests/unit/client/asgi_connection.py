"""The server's side of one ASGI connection, message by message."""

import asyncio
from collections.abc import Sequence
from typing import Any, Self

from shared.asgi.denial import DENIAL_RESPONSE
from shared.asgi.middleware import AsgiApp
from shared.asgi.session_socket import Message

#: Bounds how long a broken test waits.
PATIENCE_SECONDS = 10


class AsgiConnection:
    """Runs the application for one connection. On exit, the context manager waits until the application has returned.

    `sent` returns a message of the application; `put` queues a message of the client. A WebSocket starts with its
    handshake.
    """

    def __init__(
        self,
        app: AsgiApp,
        kind: str = "websocket",
        path: str = "/",
        *,
        authorization: Sequence[str] = (),
        subprotocols: Sequence[str] = (),
        root_path: str = "",
        can_deny: bool = True,
    ) -> None:
        self.scope: dict[str, Any] = {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "ws" if kind == "websocket" else "http",
            "path": path,
            "root_path": root_path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"authorization", value.encode("latin-1")) for value in authorization],
            "client": ("203.0.113.7", 50000),
            "server": ("service", 80),
            "state": {},
            "extensions": {DENIAL_RESPONSE: {}} if can_deny else None,
        }
        if kind == "websocket":
            self.scope["subprotocols"] = list(subprotocols)
        self._app = app
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        self.put({"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request", "body": b""})

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._task
        assert self._from_app.empty(), self._from_app.get_nowait()

    def put(self, message: Message) -> None:
        self._to_app.put_nowait(message)

    async def sent(self) -> Message:
        """Return the next message that the application sends."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._from_app.get()

    async def _run(self) -> None:
        await self._app(self.scope, self._to_app.get, self._from_app.put)
