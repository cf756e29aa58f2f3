"""Plain path of a verification: calls the route's function without FastAPI if the request has the regular form.

Any other request goes unchanged to FastAPI's route of the same path, which documents the operation and words refusals.
FastAPI takes more than half of the edge's CPU for a verification, in middleware, routing and dependencies.
"""

import re
from collections.abc import Iterable

from fastapi import Request
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.bodies import JSON
from api.dependencies import caller_of
from api.errors import answer_error
from api.routes import auth

ROUTE = next(route for route in auth.router.routes if getattr(route, "endpoint", None) is auth.verify_user)
PATH = "/auth/verify"
CONTENT_TYPE = JSON.encode()
#: One space, and no characters that FastAPI strips or that a worker refuses.
BEARER = re.compile(rb"Bearer ([!-~]+)")


class PlainVerifications:
    """Middleware that answers regular verifications, and passes on all other requests."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_verification = scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "POST"
        credential = _credential(scope["headers"]) if is_verification else None
        if credential is None:
            await self.app(scope, receive, send)
            return
        try:
            message = await receive()
        except HTTPException:  # `receive` raises it again
            await self.app(scope, receive, send)
            return
        body = _body(message)
        if body is None:
            await self.app(scope, _again(message, receive), send)
            return
        scope["route"] = ROUTE  # for log lines, metrics and spans
        request = Request(scope)
        try:
            response = await auth.verify_user(body, caller_of(request, credential), scope["state"]["verifier"])
        except Exception as error:  # noqa: BLE001 - answers as FastAPI's handlers and `UnexpectedErrors` do
            response = await answer_error(request, error)
        await response(scope, receive, send)


def _credential(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the Bearer token of a JSON request, or None unless both headers have the regular form, once each."""
    kinds, credential = 0, None
    for name, value in headers:
        if name == b"authorization":
            found = BEARER.fullmatch(value)
            if credential is not None or found is None:
                return None
            credential = found[1].decode()
        elif name == b"content-type":
            kinds += 1
            if value != CONTENT_TYPE:
                return None
    return credential if kinds == 1 else None


def _body(message: Message) -> auth.AuthVerifyBody | None:
    """Return the body if it arrived in one piece and is valid, or else None."""
    if message["type"] != "http.request" or message["more_body"]:
        return None
    try:
        return auth.AuthVerifyBody.model_validate(from_json(message["body"], allow_inf_nan=False))
    except (ValidationError, ValueError):
        return None


def _again(message: Message, receive: Receive) -> Receive:
    """Return a `receive` that first returns this message again."""
    waiting = [message]

    async def receive_again() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_again
