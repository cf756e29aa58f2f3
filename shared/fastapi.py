"""Jincor Auth for FastAPI: whose request it is as a dependency, and WebSockets that end with their session.

    auth = FastApiAuth("amqp://…", email="shop@example.com", password="…", name="notes")
    app = FastAPI(lifespan=auth.lifespan, exception_handlers=auth.exception_handlers)
    CurrentUser = Annotated[Claims, Depends(auth.require("notes:read"))]

    @app.get("/notes")
    async def notes(user: CurrentUser) -> list[Note]: ...

Who has no token of a live session gets 401, whose scope is not sufficient 403, and everyone 503 while the service
cannot be asked: each an `HTTPException`, so with `{"detail": …}` or in whatever form the application gives them.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, Final, NoReturn

from fastapi import Depends, HTTPException, Request, WebSocket, WebSocketException
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from starlette.requests import HTTPConnection

from .asgi.bearer import Refusal, authenticate, authorize, bearer_token, unavailable_refusal
from .asgi.middleware import DENIAL_RESPONSE
from .asgi.service_auth import ServiceAuth
from .asgi.session_socket import POLICY_VIOLATION, SessionSocket
from .client.scopes import scope_names
from .contracts.claims import Claims
from .contracts.errors import InvalidToken, Temporary, Throttled

#: For the OpenAPI document and its button to authorize; the token itself is found by `authenticate`.
_bearer = HTTPBearer(scheme_name="userToken", bearerFormat="JWT", description="A user's token.", auto_error=False)


async def answer_unavailable(_request: Request, error: Temporary) -> JSONResponse:
    """503 for what an endpoint's own call to `client` raises, as the dependencies answer it."""
    refusal = unavailable_refusal(error.retry_after_seconds)
    return JSONResponse({"detail": refusal.detail}, refusal.status, refusal.headers)


async def answer_throttled(_request: Request, error: Throttled) -> JSONResponse:
    """429 for a login that came too soon after wrong ones."""
    return JSONResponse({"detail": str(error)}, 429, {"Retry-After": str(error.retry_after_seconds)})


class FastApiAuth(ServiceAuth):
    """Dependencies that let in who has a token of a live session. Its lifespan is the application's, or within it.

    In tests of your own, `app.dependency_overrides[auth.authenticated]` says whose request it is.
    """

    #: For the application: what is nobody's fault is answered alike wherever it happens, and so are guesses.
    exception_handlers: Final[dict[Any, Any]] = {
        Temporary: answer_unavailable,
        Throttled: answer_throttled,
    }

    async def authenticated(self, connection: HTTPConnection, _: Annotated[object, Depends(_bearer)]) -> Claims:
        """Whose request or WebSocket it is, whatever the scope; also in `request.auth` from then on."""
        try:
            return await authenticate(connection.scope, self)
        except Refusal as refusal:
            _refuse(connection, refusal)

    async def logout(self, request: HTTPConnection) -> None:
        """Ends the session of a request that was let in: once this returns, its token is not accepted here either."""
        with contextlib.suppress(InvalidToken):  # it has ended meanwhile
            await self.client.logout(bearer_token(request.scope))
        self.forget(request.auth)  # without waiting for the event

    def require(self, *scopes: str) -> Callable[..., Awaitable[Claims]]:
        """A dependency: whose request it is, if the token's scope grants all of these. See `scopes.granted`."""
        required = scope_names(*scopes)

        async def authorized(
            connection: HTTPConnection, claims: Annotated[Claims, Depends(self.authenticated)]
        ) -> Claims:
            try:
                authorize(claims, required)
            except Refusal as refusal:
                _refuse(connection, refusal)
            return claims

        return authorized

    def websocket(self, *scopes: str) -> Callable[..., AsyncIterator[WebSocket]]:
        """A dependency: the endpoint's WebSocket, to be used in place of FastAPI's own.

        When its session ends, the client is closed with 1008 and the endpoint meets a `WebSocketDisconnect`.
        """

        async def while_session_lives(
            socket: WebSocket, _: Annotated[Claims, Depends(self.require(*scopes))]
        ) -> AsyncIterator[WebSocket]:
            async with SessionSocket(socket.scope, socket.receive, socket.send, self) as ending:
                yield WebSocket(socket.scope, ending.receive, ending.send)

        return while_session_lives


def _refuse(connection: HTTPConnection, refusal: Refusal) -> NoReturn:
    # FastAPI answers a WebSocket's handshake with the response to an HTTPException, which not every server can send.
    if connection.scope["type"] == "websocket" and DENIAL_RESPONSE not in (connection.scope.get("extensions") or {}):
        raise WebSocketException(POLICY_VIOLATION, refusal.detail) from None
    raise HTTPException(refusal.status, refusal.detail, refusal.headers) from None
