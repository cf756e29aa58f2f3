"""A WebSocket that lives no longer than the session it was opened with."""

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

#: RFC 6455, 7.4.1: what is asked for breaks a rule of this endpoint.
POLICY_VIOLATION: Final = 1008
SESSION_ENDED: Final = "session ended"


class SocketClosed(OSError):
    """What ASGI wants a server to raise when something is sent that can no longer arrive."""


class SessionSocket:
    """Both directions of a WebSocket; an async context manager.

    When the session ends, the client is closed with 1008, the application receives `websocket.disconnect`, and what
    it still sends raises an `OSError`, all as if the client had gone. A browser that offered `SUBPROTOCOL` is answered
    with it, unless the application chooses another; the subprotocol with the token is never answered.
    """

    def __init__(self, scope: AsgiScope, receive: Receive, send: Send, verifier: TokenVerifier) -> None:
        """`scope` is one that `authenticate` has let in."""
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
        if self._watching is not None and not self._ended.done():  # else it is closing, which may take a moment
            self._watching.cancel()
        tasks = [task for task in (self._incoming, self._watching) if task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def receive(self) -> Message:
        """The next message from the client; after the session's end, that it is gone."""
        # A caller that gives up leaves the message to the next one.
        incoming = self._incoming = self._incoming or asyncio.ensure_future(self._receive())
        either: set[asyncio.Future[Any]] = {incoming, self._ended}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._ended.done():
            return {"type": "websocket.disconnect", "code": POLICY_VIOLATION, "reason": SESSION_ENDED}
        if self._incoming is not incoming:
            raise RuntimeError("another task receives from this WebSocket too, and has the message")
        self._incoming = None
        return incoming.result()

    async def send(self, message: Message) -> None:
        """Sends to the client. Raises `SocketClosed` after the session's end."""
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
        except Exception:  # whoever cannot be watched is not let stay
            log.exception("session cannot be watched, closing its WebSocket")
        await self._accepted.wait()
        self._ended.set_result(None)
        with contextlib.suppress(Exception):  # the client may have gone at the same moment
            await self._send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": SESSION_ENDED})
