"""Authentication middleware for any ASGI application."""

import contextlib
import json
from collections.abc import Awaitable, Callable, Collection

from ..client.scopes import scope_names
from .bearer import AsgiScope, Refusal, TokenVerifier, authenticate, authorize
from .denial import begin_denial
from .session_socket import POLICY_VIOLATION, Receive, Send, SessionSocket, SocketClosed

AsgiApp = Callable[[AsgiScope, Receive, Send], Awaitable[None]]


class AuthMiddleware:
    """Passes on connections with a valid token, with the claims in `scope["auth"]`.

    Other connections get 401, 403 or 503 with `{"detail": …}`. A WebSocket gets the same response
    if the server supports it, and is closed with 1008 otherwise. A WebSocket is also closed with
    1008 when its session ends. CORS preflights carry no token: put a CORS middleware in front of
    this one.
    """

    def __init__(
        self, app: AsgiApp, verifier: TokenVerifier, *, require: str = "", exclude: Collection[str] = ()
    ) -> None:
        """`require` is a space-separated list of required scope names.

        `exclude` holds paths without authentication: `"/health"`, or `"/static/*"` for all paths
        below it. Raises `ValueError` for an invalid scope name.
        """
        self._app = app
        self._verifier = verifier
        self._required = scope_names(require)
        self._open_paths = frozenset(path for path in exclude if not path.endswith("/*"))
        self._open_below = tuple(path.removesuffix("*") for path in exclude if path.endswith("/*"))

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"} or self._is_open(scope):
            await self._app(scope, receive, send)
            return
        try:
            authorize(await authenticate(scope, self._verifier), self._required)
        except Refusal as refusal:
            await _refuse(refusal, scope, receive, send)
            return
        if scope["type"] == "http":
            await self._app(scope, receive, send)
            return
        # If the application does not catch this exception from `send`, it has ended.
        with contextlib.suppress(SocketClosed):
            async with SessionSocket(scope, receive, send, self._verifier) as socket:
                await self._app(scope, socket.receive, socket.send)

    def _is_open(self, scope: AsgiScope) -> bool:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if {".", ".."} & set(path.split("/")):  # an application that resolves the path may serve another one
            return False
        return path in self._open_paths or path.startswith(self._open_below)


async def _refuse(refusal: Refusal, scope: AsgiScope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()  # consume `websocket.connect`
        if not begin_denial(scope):
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": refusal.detail})
            return
    prefix = "websocket.http" if scope["type"] == "websocket" else "http"
    body = json.dumps({"detail": refusal.detail}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **refusal.headers}
    raw_headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": f"{prefix}.response.start", "status": refusal.status, "headers": raw_headers})
    await send({"type": f"{prefix}.response.body", "body": body})
