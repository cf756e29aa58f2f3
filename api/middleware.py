"""What happens around every request, as pure ASGI middleware: outermost first, in the order of `create_app`."""

import logging
import time
import uuid
from http import HTTPStatus
from urllib.parse import quote, unquote_to_bytes

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import answer_error, answered_code
from api.metrics import EdgeMetrics
from shared.contracts.wire import REQUEST_ID
from shared.process.logging import request_id, sampled

log = logging.getLogger(__name__)

#: What stands before every request of every product: a line for each would be its greatest cost.
VERIFY_ROUTES = frozenset({"/auth/verify", "/auth/forward", "/tenant/verify", "/introspect"})


class RequestContext:
    """Gives each request an id, from `X-Request-ID` or made here, echoes it, and when all is done counts it and logs
    one line.

    The line holds the route's template and never the path itself: paths hold logins. Of the verifications that
    succeed only a share has a line.
    """

    def __init__(self, app: ASGIApp, metrics: EdgeMetrics, verify_sample: float) -> None:
        self.app = app
        self.metrics = metrics
        self.verify_sample = verify_sample

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        identifier = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        started = time.perf_counter()
        status: int | None = None
        answered_after: float | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status, answered_after
            if message["type"] == "http.response.start":
                status = message["status"]
                answered_after = time.perf_counter() - started
                MutableHeaders(scope=message)["X-Request-ID"] = identifier
            await send(message)

        token = request_id.set(identifier)
        answered_code.set(None)
        try:
            await self.app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", None)
            self.metrics.answered(scope["method"], route, status, seconds if answered_after is None else answered_after)
            share = {"sample": self.verify_sample} if route in VERIFY_ROUTES and status == HTTPStatus.OK else {}
            if not share or sampled(identifier, self.verify_sample):
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
    """Answers what no handler expected. Starlette's own place for this lies outside of all middleware, where the
    answer would have neither its id nor its line in the log."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - the last resort: logged with its traceback, answered as a 500
            response = await answer_error(Request(scope), error)
            await response(scope, receive, send)


class EncodedPath:
    """Keeps each segment of the path percent-encoded, in one spelling, so that a login may hold a `/`.

    Servers decode the whole path before it is routed, and then `/user/a%2Fb` is no longer one user.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            segments = scope["raw_path"].split(b"/")
            scope["path"] = "/".join(quote(unquote_to_bytes(segment), safe="") for segment in segments)
        await self.app(scope, receive, send)
