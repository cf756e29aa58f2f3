"""`/.well-known/oauth-authorization-server` (RFC 8414) and its setting `AUTH_PUBLIC_URL`."""

import httpx
import pytest
from pydantic import ValidationError

from api.settings import Settings
from shared.contracts.permissions import TENANT_PERMISSIONS
from tests.unit.api.conftest import OpenEdge

PATH = "/.well-known/oauth-authorization-server"
URL = "https://auth.example"


async def test_metadata_names_the_endpoints_below_the_public_url(open_edge: OpenEdge) -> None:
    async with open_edge(public_url=URL) as edge:
        response = await edge.get(PATH)
        paths = (await edge.get("/openapi.json")).json()["paths"]

    metadata = response.json()
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
    assert metadata["issuer"] == URL
    endpoints = {name: url for name, url in metadata.items() if name.endswith("_endpoint")}
    assert endpoints == {
        "token_endpoint": f"{URL}/oauth/token",
        "introspection_endpoint": f"{URL}/introspect",
        "revocation_endpoint": f"{URL}/revoke",
    }
    for url in endpoints.values():
        assert "post" in paths[url.removeprefix(URL)]
    assert (metadata["grant_types_supported"], metadata["response_types_supported"]) == (["client_credentials"], [])
    assert metadata["token_endpoint_auth_methods_supported"] == ["client_secret_basic", "client_secret_post"]
    assert set(metadata["scopes_supported"]) == TENANT_PERMISSIONS


async def test_metadata_is_for_every_origin_and_cache(open_edge: OpenEdge) -> None:
    """Also beside a list of origins for the other routes."""
    for origins in ([], ["https://app.example"]):
        async with open_edge(public_url=URL, cors_origins=origins) as edge:
            for origin in ("https://app.example", "https://other.example"):
                headers = (await edge.get(PATH, headers={"Origin": origin})).headers
                assert headers["Cache-Control"] == "public, max-age=3600"
                assert headers["Access-Control-Allow-Origin"] in {"*", origin}
                assert headers["X-Content-Type-Options"] == "nosniff"
            assert (await edge.get("/health/live")).headers["Cache-Control"] == "no-store"


async def test_metadata_without_a_public_url_is_not_found(edge: httpx.AsyncClient) -> None:
    response = await edge.get(PATH)
    assert (response.status_code, response.json()["code"]) == (404, "route_not_found")


@pytest.mark.parametrize(
    "url",
    [
        "https://auth.example",
        "https://auth.example:8443",
        "https://example.com/auth/v2",
        "http://localhost:8000",
        "http://127.0.0.1:8000",
        "http://[::1]:8000",
        "https://[2001:db8::1]",
    ],
)
def test_public_url_is_https_or_on_a_loopback_host(url: str) -> None:
    assert Settings(amqp_url="amqp://broker.invalid", public_url=url).public_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://auth.example",
        "http://localhost.example",
        "http://10.0.0.1",
        "ftp://auth.example",
        "auth.example",
        "https://",
        "https:///path",
        "https://auth.example/",
        "https://auth.example/a/",
        "https://auth.example?x=1",
        "https://auth.example#x",
        "https://user:password@auth.example",
        "https://Auth.example",
        "https://auth.example/a b",
        "https://auth.example\n",
        "http://127.0.0.1:8000@auth.example",
    ],
)
def test_other_public_url_is_rejected_without_its_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AUTH_PUBLIC_URL", url)
    with pytest.raises(ValidationError, match="AUTH_PUBLIC_URL") as refused:
        Settings(amqp_url="amqp://broker.invalid")
    assert "must be" in str(refused.value)
    assert "user:password" not in str(refused.value)
