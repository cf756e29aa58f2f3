"""Cross-origin rules and security headers for browsers."""

import httpx
import pytest
from pydantic import ValidationError

from api.settings import Settings
from tests.unit.api.conftest import OpenEdge

APP, OTHER = "https://app.example", "https://other.example"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type"}


async def test_request_from_another_origin_by_default_gets_no_cors_headers(edge: httpx.AsyncClient) -> None:
    for response in (
        await edge.get("/health/live", headers={"Origin": APP}),
        await edge.options("/auth", headers={"Origin": APP, **PREFLIGHT}),
    ):
        assert not [name for name in response.headers if name.startswith("access-control")]


async def test_configured_origin_may_call_without_cookies_and_others_may_not(open_edge: OpenEdge) -> None:
    async with open_edge(cors_origins=[APP]) as edge:
        allowed = await edge.options("/auth", headers={"Origin": APP, **PREFLIGHT})
        refused = await edge.options("/auth", headers={"Origin": OTHER, **PREFLIGHT})
        answer = await edge.get("/nowhere", headers={"Origin": APP})
        to_another = await edge.get("/nowhere", headers={"Origin": OTHER})

    assert (allowed.status_code, allowed.headers["Access-Control-Allow-Origin"]) == (200, APP)
    assert "Access-Control-Allow-Origin" not in refused.headers
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (404, APP)
    assert "Access-Control-Allow-Origin" not in to_another.headers
    assert "Access-Control-Allow-Credentials" not in allowed.headers


@pytest.mark.parametrize(
    "origin", ["*", "null", "app.example", "https://app.example/", "https://*.example", "HTTPS://A"]
)
def test_invalid_origin_in_the_settings_is_rejected(origin: str) -> None:
    """Origins are listed as browsers send them, without wildcards."""
    with pytest.raises(ValidationError):
        Settings(amqp_url="amqp://broker.invalid", cors_origins=f"{APP},{origin}")


@pytest.mark.parametrize("path", ["/health/live", "/nowhere", "/user", "/openapi.json"])
async def test_response_of_any_route_cannot_run_scripts_or_be_framed(edge: httpx.AsyncClient, path: str) -> None:
    """The referrer policy also hides the URL from other sites."""
    headers = (await edge.get(path)).headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"


async def test_docs_page_may_load_its_scripts_but_not_be_framed(edge: httpx.AsyncClient) -> None:
    response = await edge.get("/docs")
    assert response.status_code == 200
    policy = dict(part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))
    assert policy == {
        **dict.fromkeys(("default-src", "base-uri", "form-action", "frame-ancestors"), "'none'"),
        **dict.fromkeys(("script-src", "style-src", "connect-src"), "'self'"),
        "img-src": "'self' data:",
    }


async def test_docs_switched_off_are_answered_404(open_edge: OpenEdge) -> None:
    async with open_edge(docs=False) as edge:
        assert [(await edge.get(path)).status_code for path in ("/docs", "/openapi.json", "/redoc")] == [404, 404, 404]


async def test_preflight_for_trace_context_headers_is_allowed(open_edge: OpenEdge) -> None:
    """OpenTelemetry adds them to each request of a page; a refused one would stop the page's requests."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "traceparent, tracestate"}
    async with open_edge(cors_origins=[APP]) as edge:
        response = await edge.options("/auth", headers={"Origin": APP, **asked})
        unknown = {**asked, "Access-Control-Request-Headers": "traceparent, baggage"}
        refused = await edge.options("/auth", headers={"Origin": APP, **unknown})

    assert response.status_code == 200
    allowed = response.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert {"traceparent", "tracestate"} <= set(allowed)
    assert refused.status_code == 400


async def test_root_with_docs_redirects_to_the_documentation(edge: httpx.AsyncClient) -> None:
    response = await edge.get("/", follow_redirects=True)

    assert [each.status_code for each in response.history] == [307]
    assert (response.url.path, response.status_code) == ("/docs", 200)


async def test_root_without_docs_is_not_found(open_edge: OpenEdge) -> None:
    async with open_edge(docs=False) as edge:
        response = await edge.get("/")

    assert (response.status_code, response.json()["code"]) == (404, "route_not_found")
