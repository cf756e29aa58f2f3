"""Response headers for browsers and caches: CORS, no caching, and no scripts, frames or referrers."""

from collections.abc import Sequence

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send

from api.routes.forward import PATH as FORWARD

RawHeaders = Sequence[tuple[bytes, bytes]]

#: Responses are data. Should a browser render one as a page, the page loads nothing and no frame shows it.
DATA_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
#: `/docs`, the only page, loads its files from the edge, sends requests to the edge, and has icons in its style sheet.
PAGE_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'; "
    "script-src 'self'; style-src 'self'; img-src 'self' data:"
)
NO_STORE = (b"cache-control", b"no-store")
SAFE_DATA = {
    b"x-content-type-options": b"nosniff",
    b"content-security-policy": DATA_POLICY.encode(),
    b"referrer-policy": b"no-referrer",
}
SAFE_PAGE = {**SAFE_DATA, b"content-security-policy": PAGE_POLICY.encode()}
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


def safe_headers(headers: RawHeaders) -> RawHeaders:
    """Return the headers of a response with those that forbid sniffing, scripts, frames, and caching unless allowed.

    Most responses carry a token or an account.
    """
    safe, kept, cache_control = SAFE_DATA, [], NO_STORE
    for header in headers:
        name, value = header
        if name == b"cache-control":
            cache_control = header
        elif name not in SAFE_DATA:
            kept.append(header)
            if name == b"content-type" and value.startswith(b"text/html"):
                safe = SAFE_PAGE
    return [*kept, cache_control, *safe.items()]


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
