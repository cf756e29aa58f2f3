"""What browsers may do with the edge, and with what it answers."""

import httpx
import pytest
from pydantic import ValidationError

from api.settings import Settings
from tests.unit.api.conftest import OpenEdge

APP, OTHER = "https://app.example", "https://other.example"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type"}


async def test_no_other_site_may_ask(edge: httpx.AsyncClient) -> None:
    """Without a setting no answer says that a page of another site may read it."""
    for response in (
        await edge.get("/health/live", headers={"Origin": APP}),
        await edge.options("/auth", headers={"Origin": APP, **PREFLIGHT}),
    ):
        assert not [name for name in response.headers if name.startswith("access-control")]


async def test_a_site_that_may_ask(open_edge: OpenEdge) -> None:
    """A site that is named may, with a token in a header; another may not, and nobody with cookies."""
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
def test_origins_are_named_one_by_one(origin: str) -> None:
    """What is no origin as browsers spell it stops the start."""
    with pytest.raises(ValidationError):
        Settings(amqp_url="amqp://broker.invalid", cors_origins=f"{APP},{origin}")


@pytest.mark.parametrize("path", ["/health/live", "/nowhere", "/user", "/openapi.json"])
async def test_answers_are_data(edge: httpx.AsyncClient, path: str) -> None:
    """No answer can run, load, or be framed, and no page tells where it was."""
    headers = (await edge.get(path)).headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"


async def test_docs_are_a_page(edge: httpx.AsyncClient) -> None:
    """The one page there is may load what it consists of, and be framed by nobody."""
    response = await edge.get("/docs")
    assert response.status_code == 200
    policy = dict(part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))
    assert policy == {
        **dict.fromkeys(("default-src", "base-uri", "form-action", "frame-ancestors"), "'none'"),
        **dict.fromkeys(("script-src", "style-src", "connect-src"), "'self'"),
        "img-src": "'self' data:",
    }


async def test_docs_can_be_left_out(open_edge: OpenEdge) -> None:
    """Without docs there is neither the page nor the document."""
    async with open_edge(docs=False) as edge:
        assert [(await edge.get(path)).status_code for path in ("/docs", "/openapi.json", "/redoc")] == [404, 404, 404]
