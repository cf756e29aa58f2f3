"""`/introspect` and `/revoke`: error responses that OAuth 2.0 clients can read (RFC 6749, 5.2)."""

import base64

import httpx
import pytest

from shared.contracts.errors import InvalidTenantToken, Overloaded
from tests.unit.api.conftest import OpenEdge, ServeEdge
from tests.unit.api.fake_rpc import FakeRpc

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
BEARER = {"Authorization": "Bearer tenant-token"}
BASIC = {"Authorization": "Basic " + base64.b64encode(b"gateway:tenant-token").decode()}

paths = pytest.mark.parametrize("path", ["/introspect", "/revoke"])


def is_refusal(response: httpx.Response, status: int, error: str, code: str) -> bool:
    """Return whether the response is this OAuth 2.0 error; assert the members of a problem document."""
    document = response.json()
    assert document["error_description"] == document["detail"] != document["error"]
    assert document["requestId"] == response.headers["X-Request-ID"]
    assert (document["type"], document["status"]) == ("about:blank", response.status_code)
    assert document["title"] == response.reason_phrase
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    return (response.status_code, document["error"], document["code"]) == (status, error, code)


@paths
@pytest.mark.parametrize(
    "form", [b"", b"other=x", b"token=", b"token=a&token=b", b"token=a&token=a", b"token=a&token="]
)
async def test_form_without_exactly_one_token_is_an_invalid_request(
    edge: httpx.AsyncClient, rpc: FakeRpc, path: str, form: bytes
) -> None:
    """The error names the field."""
    response = await edge.post(path, content=form, headers={**BEARER, **FORM})

    assert is_refusal(response, 400, "invalid_request", "invalid_request")
    assert [each["field"] for each in response.json()["errors"]] == ["token"]
    assert rpc.calls == []


@paths
async def test_oversized_form_or_json_body_is_an_invalid_request(
    edge: httpx.AsyncClient, rpc: FakeRpc, path: str
) -> None:
    """JSON keeps its own status, 415."""
    many = await edge.post(path, content=b"&".join([b"a=1"] * 2_000), headers={**BEARER, **FORM})
    assert is_refusal(many, 400, "invalid_request", "bad_request")
    assert many.json()["detail"] == "body is not a form, or has too many fields"

    json = await edge.post(path, json={"token": "t"}, headers=BEARER)
    assert is_refusal(json, 415, "invalid_request", "unsupported_media_type")
    assert rpc.calls == []


async def test_form_over_the_size_limit_is_answered_413(serve_edge: ServeEdge) -> None:
    async with serve_edge(max_body_bytes=100) as port, httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{port}/introspect"
        response = await client.post(url, data={"token": "t" * 100}, headers=BEARER)
    assert is_refusal(response, 413, "invalid_request", "body_too_large")


@paths
@pytest.mark.parametrize(
    ("headers", "challenge"),
    [
        (BASIC, 'Basic realm="jincor-auth"'),
        ({"Authorization": "Basic Og=="}, 'Basic realm="jincor-auth"'),
        ({"Authorization": "Basic !"}, 'Basic realm="jincor-auth"'),
        (BEARER, 'Bearer realm="jincor-auth", error="invalid_token"'),
        ({"Authorization": "Bearer"}, 'Bearer realm="jincor-auth"'),
        ({}, 'Bearer realm="jincor-auth", Basic realm="jincor-auth"'),
    ],
)
async def test_bad_client_credentials_are_an_invalid_client_with_a_challenge(
    edge: httpx.AsyncClient, rpc: FakeRpc, path: str, headers: dict[str, str], challenge: str
) -> None:
    """The challenge names the scheme that the client used, or both if it used none."""
    rpc.answers["auth.verify"] = {"answers": [{"error": {"code": "invalid_tenant_token", "message": "it is not"}}]}
    rpc.answers["token.revoke"] = InvalidTenantToken()

    response = await edge.post(path, data={"token": "t"}, headers=headers)

    assert is_refusal(response, 401, "invalid_client", "invalid_tenant_token")
    assert response.headers["WWW-Authenticate"] == challenge


async def test_overload_and_request_limit_are_problem_documents(open_edge: OpenEdge, rpc: FakeRpc) -> None:
    """These errors are not faults of the request, so RFC 6749 defines no code for them."""
    rpc.answers["token.revoke"] = Overloaded(retry_after_seconds=7)
    async with open_edge(request_limit=1, request_limit_seconds=60) as edge:
        overloaded = await edge.post("/revoke", data={"token": "t"}, headers=BEARER)
        limited = await edge.post("/revoke", data={"token": "t"}, headers=BEARER)
    for response, status, code in ((overloaded, 503, "overloaded"), (limited, 429, "too_many_requests")):
        document = response.json()
        assert (response.status_code, document["code"], document["error"]) == (status, code, document["detail"])
        assert response.headers["Content-Type"] == "application/problem+json"
        assert "error_description" not in document
    assert overloaded.headers["Retry-After"] == "7"


async def test_error_on_other_routes_stays_a_text(edge: httpx.AsyncClient) -> None:
    """Clients of the first version of Jincor Auth read it."""
    response = await edge.post("/auth/logout", json={}, headers=BEARER)
    assert (response.status_code, response.json()["error"]) == (422, "invalid request: token: Field required")
    assert "error_description" not in response.json()
