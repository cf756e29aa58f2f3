"""Response headers for browsers and caches: CORS, no caching, and no scripts, frames or referrers."""

from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.routes.forward import PATH as FORWARD

#: Responses are data. Should a browser render one as a page, the page loads nothing and no frame shows it.
DATA_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
#: `/docs`, the only page, loads its files from the edge, sends requests to the edge, and has icons in its style sheet.
PAGE_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'; "
    "script-src 'self'; style-src 'self'; img-src 'self' data:"
)
PREFLIGHT_SECONDS = 600
#: Request headers that pages of the allowed origins may send; the last two are W3C Trace Context.
REQUEST_HEADERS = (
    *("Authorization", "Content-Type", "Last-Event-ID", "X-Registration-Key", "X-Request-ID"),
    *("traceparent", "tracestate"),
)


class CrossOrigin(CORSMiddleware):
    """CORS, except at `/auth/forward`: a proxy would take the 200 to a preflight request for a valid token."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(FORWARD):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class SafeHeaders:
    """Middleware that forbids content sniffing, and caching unless a route allows it.

    Most responses carry a token or an account.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                is_page = headers.get("content-type", "").startswith("text/html")
                headers.setdefault("Cache-Control", "no-store")
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Content-Security-Policy"] = PAGE_POLICY if is_page else DATA_POLICY
                headers["Referrer-Policy"] = "no-referrer"
            await send(message)

        await self.app(scope, receive, send_with_headers)


def cross_origin(origins: Sequence[str]) -> list[Middleware]:
    """Return the CORS middleware for these origins, or nothing without any. No cookies: tokens travel in a header."""
    if not origins:
        return []
    return [
        Middleware(
            CrossOrigin,
            allow_origins=origins,
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=REQUEST_HEADERS,
            expose_headers=["Retry-After", "WWW-Authenticate", "X-Request-ID"],
            max_age=PREFLIGHT_SECONDS,
        )
    ]
