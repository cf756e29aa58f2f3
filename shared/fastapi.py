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
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Annotated, Any, Final, NoReturn

from fastapi import Depends, HTTPException, Request, WebSocket, WebSocketException
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from starlette.requests import HTTPConnection

from .asgi.bearer import (
    Refusal,
    authenticate,
    authorize,
    bearer_token,
    invalid_token_refusal,
    unavailable_refusal,
)
from .asgi.denial import begin_denial
from .asgi.service_auth import ServiceAuth
from .asgi.session_socket import POLICY_VIOLATION, SessionSocket
from .client.scopes import scope_names
from .contracts.claims import Claims
from .contracts.errors import (
    RETRY_AFTER_SECONDS,
    AuthError,
    BadRequest,
    EmailTaken,
    Forbidden,
    InternalError,
    InvalidCredentials,
    InvalidRequest,
    InvalidTenantToken,
    InvalidToken,
    KeyLimitReached,
    KeyNotFound,
    LoginTaken,
    RegistrationForbidden,
    ServiceCredentialsRejected,
    SessionNotFound,
    Temporary,
    TenantNotFound,
    Throttled,
    UserNotFound,
)

__all__ = ["FastApiAuth"]

log = logging.getLogger(__name__)

#: Only documents the scheme in OpenAPI; `authenticate` reads the token.
_bearer = HTTPBearer(scheme_name="userToken", bearerFormat="JWT", description="A user's token.", auto_error=False)


#: The status for each error of an endpoint's own call to `client`; the nearest class counts. A user
#: is not to blame for 5xx.
STATUSES: Final[Mapping[type[AuthError], int]] = {
    InvalidRequest: 422,
    InvalidToken: 401,
    InvalidCredentials: 403,
    Throttled: 429,
    RegistrationForbidden: 403,
    TenantNotFound: 404,
    UserNotFound: 404,
    SessionNotFound: 404,
    KeyNotFound: 404,
    LoginTaken: 409,
    EmailTaken: 409,
    KeyLimitReached: 409,
    Temporary: 503,
    ServiceCredentialsRejected: 503,
    Forbidden: 503,  # the service's own credential lacks a permission
    InvalidTenantToken: 503,  # also the service's own
    BadRequest: 500,
    InternalError: 500,
    AuthError: 403,  # a refusal of a newer service
}


async def answer_auth_error(_request: Request, error: AuthError) -> JSONResponse:
    """Respond to an error of an endpoint's own call to `client`.

    The body is `{"detail": text}`. For `InvalidRequest`, `detail` lists the bad fields in FastAPI's
    own form.
    """
    status = next(STATUSES[each] for each in type(error).__mro__ if each in STATUSES)
    retry_seconds = error.retry_after_seconds if isinstance(error, Temporary) else RETRY_AFTER_SECONDS
    match status:
        case 503:  # the client library has logged rejected and insufficient credentials
            return _response(unavailable_refusal(retry_seconds))
        case 401:
            return _response(invalid_token_refusal())
        case 429:
            return JSONResponse({"detail": str(error)}, status, {"Retry-After": str(retry_seconds)})
        case 500:
            incident = error.incident if isinstance(error, InternalError) else None
            log.error("call to Jincor Auth failed: %s", error, extra={"code": error.code, "incident": incident})
            return JSONResponse({"detail": InternalError.text}, status)
        case _:
            return JSONResponse({"detail": _detail(error)}, status)


def _detail(error: AuthError) -> str | list[dict[str, Any]]:
    """Return the text of an error, or its bad fields as FastAPI lists them."""
    if isinstance(error, InvalidRequest) and error.problems:
        return [
            {"type": error.code, "loc": problem.field.split("."), "msg": problem.message} for problem in error.problems
        ]
    return str(error)


def _response(refusal: Refusal) -> JSONResponse:
    return JSONResponse({"detail": refusal.detail}, refusal.status, refusal.headers)


class FastApiAuth(ServiceAuth):
    """FastAPI dependencies for the current user. Use `lifespan` as the application's lifespan, or
    inside it.

    In your tests, set the current user with `app.dependency_overrides[auth.authenticated]`.
    """

    #: Handlers for the application: they answer every error of the client, wherever it is raised.
    #: A handler of your own for one of its classes takes precedence.
    exception_handlers: Final[dict[Any, Any]] = {AuthError: answer_auth_error}

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
