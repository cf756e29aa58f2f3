"""Plain path of verifications: calls the route's function without FastAPI if the request has the regular form.

Any other request goes unchanged to FastAPI's route of the same path, which documents the operation and words refusals.
FastAPI takes more than half of the edge's CPU for a verification, in its middleware, routing and dependencies.
"""

import re
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request, Response
from fastapi.security import HTTPAuthorizationCredentials
from pydantic_core import from_json
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.bodies import JSON
from api.dependencies import caller_of
from api.errors import answer_error
from api.routes import auth, forward

#: One space, and no characters that FastAPI would strip.
BEARER = re.compile(rb"Bearer ([!-~]+)")

#: The call of a route's function, or None for FastAPI, which then reads from this `Receive`.
Prepared = tuple[Awaitable[Response] | None, Receive]


class PlainVerifications:
    """Middleware that answers regular requests to `POST /auth/verify` and `GET /auth/forward`, and passes on others."""

    def __init__(self, app: ASGIApp, *, with_forward: bool) -> None:
        self.app = app
        self._plain = {("POST", "/auth/verify"): (_route(auth.router, auth.verify_user), _verification)}
        if with_forward:
            self._plain["GET", forward.PATH] = _route(forward.router, forward.forward_auth), _forwarding

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        plain = self._plain.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if plain is None:
            await self.app(scope, receive, send)
            return
        route, prepare = plain
        answering, receive = await prepare(scope, receive)
        if answering is None:
            await self.app(scope, receive, send)
            return
        scope["route"] = route  # for log lines, metrics and spans
        try:
            response = await answering
        except Exception as error:  # noqa: BLE001 - answers as FastAPI's handlers and `UnexpectedErrors` do
            response = await answer_error(Request(scope), error)
        await response(scope, receive, send)


async def _verification(scope: Scope, receive: Receive) -> Prepared:
    credential = _bearer(scope, JSON.encode())
    if credential is None:
        return None, receive
    try:
        message = await receive()
    except HTTPException:  # `receive` raises it again
        return None, receive
    try:
        body = auth.AuthVerifyBody.model_validate(from_json(_whole_body(message), allow_inf_nan=False))
    except ValueError:
        return None, _again(message, receive)
    return auth.verify_user(body, caller_of(Request(scope), credential), scope["state"]["verifier"]), receive


async def _forwarding(scope: Scope, receive: Receive) -> Prepared:
    credential = _bearer(scope, None)
    if credential is None:
        return None, receive
    bearer = HTTPAuthorizationCredentials(scheme="Bearer", credentials=credential)
    state = scope["state"]
    return forward.forward_auth(bearer, state["forward_tenant"], state["verifier"]), receive


def _bearer(scope: Scope, content_type: bytes | None) -> str | None:
    """Return the only Bearer token, or None unless it and the content type, if one is expected, are regular."""
    credential, kinds = None, 0
    for name, value in scope["headers"]:
        if name == b"authorization":
            found = BEARER.fullmatch(value)
            if credential is not None or found is None:
                return None
            credential = found[1].decode()
        elif name == b"content-type" and content_type:
            kinds += 1
            if value != content_type:
                return None
    return credential if kinds == bool(content_type) else None


def _whole_body(message: Message) -> bytes:
    """Return the body that arrived in one piece. Raises `ValueError`."""
    if message["type"] != "http.request" or message["more_body"]:
        raise ValueError(message["type"])
    body: bytes = message["body"]
    return body


def _again(message: Message, receive: Receive) -> Receive:
    """Return a `receive` that first returns this message again."""
    waiting = [message]

    async def receive_again() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_again


def _route(router: APIRouter, function: Callable[..., Awaitable[Response]]) -> BaseRoute:
    return next(route for route in router.routes if getattr(route, "endpoint", None) is function)
