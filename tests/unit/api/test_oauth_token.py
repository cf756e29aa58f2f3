"""`POST /oauth/token`: the client credentials grant (RFC 6749, 4.4), its answers and its errors (5.1, 5.2)."""

import base64
from typing import Any

import httpx
import pytest

from api.examples import KEY_ID
from shared.contracts.errors import Forbidden, InvalidScope, InvalidTenantToken, Throttled
from tests.unit.api.conftest import OpenEdge
from tests.unit.api.fake_rpc import FakeRpc

#: Always the same, because parameters of tests contain it.
KEY = "jak_0VfKe3RtQ8mLz2Xb9WsYcA8shsU04xtKPy9EMFO9ZjNMu5s3Ne8jgMxYlThGAme5Y2zAw4G"
CLIENT = {"client_id": KEY_ID, "client_secret": KEY}
GRANT = {"grant_type": "client_credentials"}
BASIC = {"Authorization": "Basic " + base64.b64encode(f"{KEY_ID}:{KEY}".encode()).decode()}
ISSUED = {"access_token": "<JWT>", "token_type": "Bearer", "expires_in": 3_600, "scope": "users:read"}


@pytest.mark.parametrize(
    ("scope", "sent"),
    [({}, {}), ({"scope": ""}, {}), ({"scope": "users:read tokens:verify"}, {"scope": "users:read tokens:verify"})],
)
async def test_api_key_is_exchanged_for_an_access_token(
    edge: httpx.AsyncClient, rpc: FakeRpc, scope: dict[str, str], sent: dict[str, str]
) -> None:
    """A parameter without a value is absent (RFC 6749, 3.2). The answer is for no cache (5.1)."""
    response = await edge.post("/oauth/token", data={**GRANT, **CLIENT, **scope})

    [call] = rpc.calls
    assert (call.operation, call.request) == (
        "oauth.token",
        {"tenantToken": KEY, "callerAddress": "203.0.113.7", **sent},
    )
    assert (response.status_code, response.json()) == (200, ISSUED)
    headers = response.headers
    assert (headers["Content-Type"], headers["Cache-Control"], headers["Pragma"]) == (
        "application/json",
        "no-store",
        "no-cache",
    )


@pytest.mark.parametrize(
    ("field", "form"),
    [
        ("grant_type", CLIENT),
        ("grant_type", {**CLIENT, "grant_type": ""}),
        ("grant_type", {**CLIENT, "grant_type": ["client_credentials"] * 2}),
        ("scope", {**CLIENT, **GRANT, "scope": ["users:read", "users:read"]}),
    ],
)
async def test_missing_or_repeated_parameter_is_an_invalid_request(
    edge: httpx.AsyncClient, rpc: FakeRpc, field: str, form: dict[str, Any]
) -> None:
    response = await edge.post("/oauth/token", data=form)

    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert [each["field"] for each in response.json()["errors"]] == [field]
    assert KEY not in response.text
    assert rpc.calls == []


@pytest.mark.parametrize("grant", ["password", "authorization_code", "refresh_token", "Client_Credentials", "é"])
async def test_another_grant_type_is_not_supported(edge: httpx.AsyncClient, rpc: FakeRpc, grant: str) -> None:
    response = await edge.post("/oauth/token", data={**CLIENT, "grant_type": grant})

    document = response.json()
    assert (response.status_code, response.headers["Content-Type"]) == (400, "application/json")
    assert document["error"] == document["code"] == "unsupported_grant_type"
    assert document["error_description"] == "grant_type must be client_credentials"
    assert rpc.calls == []


@pytest.mark.parametrize(
    ("raised", "status", "error"),
    [
        (InvalidScope(), 400, "invalid_scope"),
        (InvalidTenantToken("only an API key gets an access token"), 401, "invalid_client"),
        (Forbidden("the API key may not be used from this address"), 403, "unauthorized_client"),
    ],
)
async def test_refusal_of_the_worker_becomes_an_error_of_the_standard(
    edge: httpx.AsyncClient, rpc: FakeRpc, raised: Exception, status: int, error: str
) -> None:
    rpc.answers["oauth.token"] = raised
    response = await edge.post("/oauth/token", data=GRANT, headers=BASIC)

    document = response.json()
    assert (response.status_code, document["error"], document["error_description"]) == (status, error, str(raised))
    assert (response.headers["Content-Type"], response.headers["Cache-Control"]) == ("application/json", "no-store")
    challenge = 'Basic realm="jincor-auth"' if status == 401 else None
    assert response.headers.get("WWW-Authenticate") == challenge


async def test_client_without_credentials_gets_a_challenge(edge: httpx.AsyncClient) -> None:
    response = await edge.post("/oauth/token", data=GRANT)

    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="jincor-auth", Basic realm="jincor-auth"'


async def test_throttling_and_the_request_limit_apply(open_edge: OpenEdge, rpc: FakeRpc) -> None:
    rpc.answers["oauth.token"] = Throttled(retry_after_seconds=7)
    async with open_edge(request_limit=1, request_limit_seconds=60) as edge:
        throttled = await edge.post("/oauth/token", data={**GRANT, **CLIENT})
        limited = await edge.post("/oauth/token", data={**GRANT, **CLIENT})
    assert (throttled.status_code, throttled.headers["Retry-After"]) == (429, "7")
    assert [response.json()["code"] for response in (throttled, limited)] == ["throttled", "too_many_requests"]
