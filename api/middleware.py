"""ASGI middleware for every request: ids and log lines, unexpected errors, HEAD, and encoded paths."""

import logging
import os
import re
import time
from http import HTTPStatus
from urllib.parse import quote, unquote_to_bytes

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.browsers import safe_headers
from api.errors import answer_error, answered_code
from api.metrics import EdgeMetrics
from api.routes.forward import FORWARD_ROUTES
from shared.contracts.wire import REQUEST_ID
from shared.process.logging import request_id, sampled

log = logging.getLogger(__name__)

#: Products call these before each of their requests. One log line each would cost more than the rest of the work.
VERIFY_ROUTES = frozenset({"/auth/verify", *FORWARD_ROUTES, "/tenant/verify", "/introspect"})

#: Load balancers and containers call these every few seconds for as long as they run.
HEALTH_ROUTES = frozenset({"/health/live", "/health/ready"})

#: RFC 3986, 2.3: unreserved characters, which percent-encoding leaves as they are.
CANONICAL_PATH = re.compile(rb"[\w.~/-]*")


class RequestContext:
    """Middleware that gives each request an id and safe headers, counts it, and logs one line.

    The id comes from `X-Request-ID` or is new. The line holds the route's template and never the
    path, because paths hold logins. Successful verifications are sampled, successful health checks
    are not logged.
    """

    def __init__(self, app: ASGIApp, metrics: EdgeMetrics, verify_sample: float) -> None:
        self.app = app
        self.metrics = metrics
        self.verify_sample = verify_sample

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"").decode("latin-1")
        identifier = given if REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
        started = time.perf_counter()
        status: int | None = None
        answered_after: float | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status, answered_after
            if message["type"] == "http.response.start":
                status = message["status"]
                answered_after = time.perf_counter() - started
                message["headers"] = [*safe_headers(message["headers"]), (b"x-request-id", identifier.encode())]
            await send(message)

        token = request_id.set(identifier)
        answered_code.set(None)
        try:
            await self.app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", None)
            self.metrics.answered(scope["method"], route, status, seconds if answered_after is None else answered_after)
            succeeded = status == HTTPStatus.OK
            share = {"sample": self.verify_sample} if succeeded and route in VERIFY_ROUTES else {}
            silent = succeeded and route in HEALTH_ROUTES
            if not silent and (not share or sampled(identifier, self.verify_sample)):
                log.info(
                    "request",
                    extra={
                        "method": scope["method"],
                        "route": route,
                        "status": status,
                        "code": answered_code.get(),
                        "duration_ms": round(seconds * 1000, 1),
                        "request_id": identifier,
                        **share,
                    },
                )
            request_id.reset(token)


class UnexpectedErrors:
    """Middleware that answers unexpected exceptions.

    Starlette's own handler answers such an exception and raises it again, so it would be logged twice.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - the last resort: logs the traceback and answers 500
            response = await answer_error(Request(scope), error)
            await response(scope, receive, send)


class HeadAsGet:
    """Middleware that answers HEAD wherever a route answers GET, with the head of that response (RFC 9110, 9.3.2).

    The response is complete after its head, so the server ends an open-ended stream at once.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope["method"] = "HEAD"
                await send(message)
                await send({"type": "http.response.body", "body": b""})

        scope["method"] = "GET"
        try:
            await self.app(scope, receive, send_head)
        finally:
            scope["method"] = "HEAD"  # for the log, and for the server, which sends no body in response to HEAD


class EncodedPath:
    """Middleware that keeps each path segment percent-encoded, in canonical form, so that a login may hold a `/`.

    Servers decode the whole path before routing, which would split the login in `/user/a%2Fb`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path: bytes = scope["raw_path"]
            if not CANONICAL_PATH.fullmatch(path):
                path = b"/".join(quote(unquote_to_bytes(segment), safe="").encode() for segment in path.split(b"/"))
            scope["path"] = path.decode()
        await self.app(scope, receive, send)
