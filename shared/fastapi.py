"""Jincor Auth for FastAPI: dependencies for the current user, and WebSockets that end with their
session.

    auth = FastApiAuth("amqp://…", email="shop@example.com", password="…", name="notes")
    app = FastAPI(lifespan=auth.lifespan, exception_handlers=auth.exception_handlers)
    CurrentUser = Annotated[Claims, Depends(auth.require("notes:read"))]

    @app.get("/notes")
    async def notes(user: CurrentUser) -> list[Note]: ...

A dependency raises `HTTPException`: 401 without a valid token, 403 if the scope is not sufficient,
and 503 while tokens cannot be verified. The body is `{"detail": …}`, or that of the application's
own handler.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, Final, NoReturn

from fastapi import Depends, HTTPException, Request, WebSocket, WebSocketException
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from starlette.requests import HTTPConnection

from .asgi.bearer import Refusal, authenticate, authorize, bearer_token, unavailable_refusal
from .asgi.denial import begin_denial
from .asgi.service_auth import ServiceAuth
from .asgi.session_socket import POLICY_VIOLATION, SessionSocket
from .client.scopes import scope_names
from .contracts.claims import Claims
from .contracts.errors import InvalidToken, Temporary, Throttled

#: Only documents the scheme in OpenAPI; `authenticate` reads the token.
_bearer = HTTPBearer(scheme_name="userToken", bearerFormat="JWT", description="A user's token.", auto_error=False)


async def answer_unavailable(_request: Request, error: Temporary) -> JSONResponse:
    """Respond with 503 to a temporary error of an endpoint's own call to `client`."""
    refusal = unavailable_refusal(error.retry_after_seconds)
    return JSONResponse({"detail": refusal.detail}, refusal.status, refusal.headers)


async def answer_throttled(_request: Request, error: Throttled) -> JSONResponse:
    """Respond with 429 to a throttled login."""
    return JSONResponse({"detail": str(error)}, 429, {"Retry-After": str(error.retry_after_seconds)})


class FastApiAuth(ServiceAuth):
    """FastAPI dependencies for the current user. Use `lifespan` as the application's lifespan, or
    inside it.

    In your tests, set the current user with `app.dependency_overrides[auth.authenticated]`.
    """

    #: Handlers for the application: temporary errors get 503 and throttled logins 429, wherever
    #: they are raised.
    exception_handlers: Final[dict[Any, Any]] = {
        Temporary: answer_unavailable,
        Throttled: answer_throttled,
    }

    async def authenticated(self, connection: HTTPConnection, _: Annotated[object, Depends(_bearer)]) -> Claims:
        """Return the claims of the connection's token, whatever its scope; also stored in
        `request.auth`."""
        try:
            return await authenticate(connection.scope, self)
        except Refusal as refusal:
            _refuse(connection, refusal)

    async def logout(self, request: HTTPConnection) -> None:
        """Revoke the session of an authenticated request. This process rejects its token at once.

        A session that has already ended is not an error.
        """
        with contextlib.suppress(InvalidToken):  # the session has already ended
            await self.client.logout(bearer_token(request.scope))
        self.forget(request.auth)  # without waiting for the event

    def require(self, *scopes: str) -> Callable[..., Awaitable[Claims]]:
        """Return a dependency: the claims, if the token's scope grants all `scopes`. See
        `scopes.granted`."""
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
        """Return a dependency: the endpoint's WebSocket, to use instead of FastAPI's own.

        When its session ends, it is closed with 1008 and the endpoint gets a `WebSocketDisconnect`.
        """

        async def while_session_lives(
            socket: WebSocket, _: Annotated[Claims, Depends(self.require(*scopes))]
        ) -> AsyncIterator[WebSocket]:
            async with SessionSocket(socket.scope, socket.receive, socket.send, self) as ending:
                yield WebSocket(socket.scope, ending.receive, ending.send)

        return while_session_lives


def _refuse(connection: HTTPConnection, refusal: Refusal) -> NoReturn:
    # FastAPI refuses a WebSocket with the response to an HTTPException, which some servers cannot
    # send.
    if connection.scope["type"] == "websocket" and not begin_denial(connection.scope):
        raise WebSocketException(POLICY_VIOLATION, refusal.detail) from None
    raise HTTPException(refusal.status, refusal.detail, refusal.headers) from None
