"""A WebSocket that is closed when its session ends."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Self

from .bearer import SUBPROTOCOL, TOKEN_SUBPROTOCOL_PREFIX, AsgiScope, TokenVerifier, bearer_token

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: The close code for a violation of the endpoint's policy (RFC 6455, 7.4.1).
POLICY_VIOLATION: Final = 1008
#: The close reason of a WebSocket whose session ended.
SESSION_ENDED: Final = "session ended"


class SocketClosed(OSError):
    """The session ended, so the message cannot be sent. ASGI requires an `OSError` in this case."""


class SessionSocket:
    """Wraps `receive` and `send` of a WebSocket; an async context manager.

    When the session ends, the WebSocket is closed with 1008. The application receives
    `websocket.disconnect`, and further sends raise an `OSError`, as if the client had disconnected.

    If the client offered `SUBPROTOCOL`, it is selected unless the application selects another. The
    subprotocol with the token is never sent back.
    """

    def __init__(self, scope: AsgiScope, receive: Receive, send: Send, verifier: TokenVerifier) -> None:
        """`scope` has passed `authenticate`."""
        self._token = bearer_token(scope)
        self._default_subprotocol = SUBPROTOCOL if SUBPROTOCOL in scope.get("subprotocols", ()) else None
        self._receive = receive
        self._send = send
        self._verifier = verifier
        self._accepted = asyncio.Event()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._incoming: asyncio.Future[Message] | None = None
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._close_when_ended())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._incoming is not None:
            self._incoming.cancel()
        if (
            self._watching is not None and not self._ended.done()
        ):  # otherwise it is closing the WebSocket: let it finish
            self._watching.cancel()
        tasks = [task for task in (self._incoming, self._watching) if task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def receive(self) -> Message:
        """Return the next message of the client, or `websocket.disconnect` after the session
        ended."""
        # If a caller is cancelled, the next caller gets the message.
        incoming = self._incoming = self._incoming or asyncio.ensure_future(self._receive())
        either: set[asyncio.Future[Any]] = {incoming, self._ended}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._ended.done():
            return {"type": "websocket.disconnect", "code": POLICY_VIOLATION, "reason": SESSION_ENDED}
        if self._incoming is not incoming:
            raise RuntimeError("another task has received this message; receive in one task only")
        self._incoming = None
        return incoming.result()

    async def send(self, message: Message) -> None:
        """Send a message to the client. Raises `SocketClosed` after the session ended."""
        if self._ended.done():
            if message["type"] == "websocket.close":
                return
            raise SocketClosed(SESSION_ENDED)
        if message["type"] != "websocket.accept":
            await self._send(message)
            return
        chosen = message.get("subprotocol") or ""
        if not chosen or chosen.startswith(TOKEN_SUBPROTOCOL_PREFIX):
            message = {**message, "subprotocol": self._default_subprotocol}
        await self._send(message)
        self._accepted.set()

    async def _close_when_ended(self) -> None:
        try:
            await self._verifier.until_ended(self._token)
        except Exception:  # fail closed: a session that cannot be watched may have ended
            log.exception("session cannot be watched, closing its WebSocket")
        await self._accepted.wait()
        self._ended.set_result(None)
        with contextlib.suppress(Exception):  # the client may have disconnected at the same time
            await self._send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": SESSION_ENDED})
