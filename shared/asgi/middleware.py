"""Authentication in front of any ASGI application, whatever framework it is made with."""

import contextlib
import json
from collections.abc import Awaitable, Callable, Collection

from ..client.scopes import scope_names
from .bearer import AsgiScope, Refusal, TokenVerifier, authenticate, authorize
from .session_socket import POLICY_VIOLATION, Receive, Send, SessionSocket, SocketClosed

AsgiApp = Callable[[AsgiScope, Receive, Send], Awaitable[None]]

#: The extension by which a server lets a WebSocket be refused with a status and a body.
DENIAL_RESPONSE = "websocket.http.response"


class AuthMiddleware:
    """Lets in who has a token of a live session: the application finds the claims in `scope["auth"]`.

    Others get 401, 403 or 503 with `{"detail": …}`, also on a WebSocket where the server can send that, else it is
    closed with 1008. A WebSocket is closed when its session ends. Answers to CORS preflights come without a token:
    a CORS middleware belongs in front of this one.
    """

    def __init__(
        self, app: AsgiApp, verifier: TokenVerifier, *, require: str = "", exclude: Collection[str] = ()
    ) -> None:
        """`require` is a list of scopes, separated by spaces. `exclude` are the paths that are open to everyone, as
        `"/health"`, or `"/static/*"` for all that begin so."""
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
        # An application that does not catch what `send` raises has nothing more to do.
        with contextlib.suppress(SocketClosed):
            async with SessionSocket(scope, receive, send, self._verifier) as socket:
                await self._app(scope, socket.receive, socket.send)

    def _is_open(self, scope: AsgiScope) -> bool:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if {".", ".."} & set(path.split("/")):  # leads out of where it seems to lead, if the application follows it
            return False
        return path in self._open_paths or path.startswith(self._open_below)


async def _refuse(refusal: Refusal, scope: AsgiScope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()  # the `websocket.connect` that is answered here
        if DENIAL_RESPONSE not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": refusal.detail})
            return
    prefix = "websocket.http" if scope["type"] == "websocket" else "http"
    body = json.dumps({"detail": refusal.detail}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **refusal.headers}
    raw_headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": f"{prefix}.response.start", "status": refusal.status, "headers": raw_headers})
    await send({"type": f"{prefix}.response.body", "body": body})
