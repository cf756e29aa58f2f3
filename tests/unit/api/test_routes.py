"""Every route: its request to a worker, and its response to the reply."""

from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from api.examples import EXAMPLES
from tests.unit.api.conftest import OpenEdge
from tests.unit.api.fake_rpc import FakeRpc

TENANT = {"Authorization": "Bearer tenant-token"}
#: The member that the edge adds to a request: the address of its client.
FROM = {"clientAddress": "203.0.113.7"}
CREDENTIALS = {"email": "Shop@Example.com", "password": "long enough"}


@dataclass(frozen=True)
class Route:
    """A request over HTTP, and the one that the worker gets."""

    method: str
    path: str
    operation: str
    request: dict[str, Any]
    body: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=lambda: TENANT)


#: The members that tell the worker who sends a request with the tenant token.
TENANT_CALLER = {"tenantToken": "tenant-token", "callerAddress": "203.0.113.7"}

ROUTES = [
    Route(
        "POST",
        "/tenant",
        "tenant.register",
        {
            "email": "shop@example.com",
            "password": "long enough",
            **FROM,
            "registrationKey": "the key",
        },
        CREDENTIALS,
        {"X-Registration-Key": "the key"},
    ),
    Route(
        "POST",
        "/tenant/login",
        "tenant.login",
        {"email": "shop@example.com", "password": "long enough", **FROM},
        CREDENTIALS,
        {},
    ),
    Route("POST", "/tenant/verify", "tenant.verify", {"token": "t"}, {"token": "t"}, {}),
    Route("POST", "/tenant/logout", "tenant.logout", {"token": "t"}, {"token": "t"}, {}),
    Route(
        "PATCH",
        "/tenant",
        "tenant.update",
        {"tenantToken": "tenant-token", "currentPassword": "x", "password": "long enough", **FROM},
        {"currentPassword": "x", "password": "long enough"},
    ),
    *(
        Route("POST", f"/tenant/{word}", f"tenant.{word}", {"tenantToken": "tenant-token", **body, **FROM}, body)
        for word, body in (("disable", {"password": "x"}), ("delete", {"password": "x"}))
    ),
    *(
        Route(
            "POST",
            f"/tenant/{word}",
            f"tenant.{word}",
            {"email": "shop@example.com", "registrationKey": "the key", **FROM},
            {"email": "Shop@Example.com"},
            {"X-Registration-Key": "the key"},
        )
        for word in ("disable", "enable", "delete")
    ),
    Route(
        "POST",
        "/user",
        "user.create",
        {**TENANT_CALLER, "login": "ada", "email": "a@b", "password": "long enough", "scope": None},
        {"login": "ada", "email": "a@b", "password": "long enough", "scope": None, "unknown": 1},
    ),
    Route("GET", "/user", "user.list", TENANT_CALLER),
    Route("GET", "/audit", "audit.list", TENANT_CALLER),
    Route(
        "GET",
        "/audit?type=auth.login&login=ada&since=1&until=2&cursor=0&limit=7",
        "audit.list",
        {
            **TENANT_CALLER,
            "type": "auth.login",
            "login": "ada",
            "since": 1,
            "until": 2,
            "cursor": "0",
            "limit": 7,
        },
    ),
    Route(
        "GET",
        "/user?q=ad%20a&cursor=abc&limit=7",
        "user.list",
        {**TENANT_CALLER, "q": "ad a", "cursor": "abc", "limit": 7},
    ),
    Route("GET", "/user/ada", "user.get", {**TENANT_CALLER, "login": "ada"}),
    Route(
        "PATCH",
        "/user/ada",
        "user.update",
        {**TENANT_CALLER, "login": "ada", "email": "c@d"},
        {"email": "c@d"},
    ),
    Route(
        "PATCH",
        "/user/ada",
        "user.update",
        {**TENANT_CALLER, "login": "ada", "scope": None},
        {"scope": None},
    ),
    Route("DELETE", "/user/ada", "user.delete", {**TENANT_CALLER, "login": "ada"}),
    Route("GET", "/user/ada/sessions", "session.list", {**TENANT_CALLER, "login": "ada"}),
    Route("DELETE", "/user/ada/sessions", "session.revoke_all", {**TENANT_CALLER, "login": "ada"}),
    Route(
        "DELETE",
        "/user/ada/sessions/s1",
        "session.revoke",
        {**TENANT_CALLER, "login": "ada", "sessionId": "s1"},
    ),
    *(
        Route(
            "POST",
            path,
            "auth.login",
            {**TENANT_CALLER, "login": "ada", "password": "x", "deviceId": "d"},
            {"login": "ada", "password": "x", "deviceId": "d"},
        )
        for path in ("/auth", "/auth/")
    ),
    Route(
        "POST",
        "/auth/verify",
        "auth.verify",
        {"checks": [{**TENANT_CALLER, "token": "t", "requestId": "r-1"}]},
        {"token": "t"},
    ),
    Route("POST", "/auth/logout", "auth.logout", {**TENANT_CALLER, "token": "t"}, {"token": "t"}),
    Route(
        "POST",
        "/operator/login",
        "operator.login",
        {**TENANT_CALLER, "login": "olga", "password": "x", "deviceId": "laptop"},
        {"login": "olga", "password": "x", "deviceId": "laptop"},
    ),
    Route("POST", "/operator/logout", "operator.logout", TENANT_CALLER),
    Route(
        "POST",
        "/operator/password",
        "operator.set_password",
        {**TENANT_CALLER, "currentPassword": "x", "password": "long enough"},
        {"currentPassword": "x", "password": "long enough"},
    ),
    Route("GET", "/operators", "operator.list", TENANT_CALLER),
    Route(
        "PATCH",
        "/operators/olga",
        "operator.update",
        {**TENANT_CALLER, "login": "olga", "permissions": ["users:read"]},
        {"permissions": ["users:read"]},
    ),
]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_route_passes_request_and_reply_on_unchanged(edge: httpx.AsyncClient, rpc: FakeRpc, route: Route) -> None:
    headers = {**route.headers, "X-Request-ID": "r-1"}
    response = await edge.request(route.method, route.path, json=route.body, headers=headers)

    [call] = rpc.calls
    assert (call.operation, call.request) == (route.operation, route.request)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
    assert response.json() == EXAMPLES[route.operation].reply


async def test_null_and_absent_members_of_a_reply_stay_as_they_are(edge: httpx.AsyncClient, rpc: FakeRpc) -> None:
    claims = {**EXAMPLES["auth.verify"].reply["decoded"], "scope": None}
    del claims["deviceId"]
    rpc.answers["auth.verify"] = {"answers": [{"claims": claims}]}

    response = await edge.post("/auth/verify", json={"token": "t"}, headers=TENANT)

    assert response.json() == {"decoded": claims}


async def test_registration_without_a_key_is_sent_with_the_address(edge: httpx.AsyncClient, rpc: FakeRpc) -> None:
    """The worker permits it by the address alone."""
    await edge.post("/tenant", json=CREDENTIALS)

    request = rpc.calls[0].request
    assert (request["registrationKey"], request["clientAddress"]) == (None, "203.0.113.7")


@pytest.mark.parametrize(("host", "address"), [("2001:db8::1", "2001:db8::1"), ("unknown", None), ("", None)])
async def test_registration_carries_the_client_address_if_it_is_known(
    open_edge: OpenEdge, rpc: FakeRpc, host: str, address: str | None
) -> None:
    async with open_edge(client_host=host) as edge:
        await edge.post("/tenant", json=CREDENTIALS)

    assert rpc.calls[0].request["clientAddress"] == address


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "tenant-token"])
@pytest.mark.parametrize(
    ("method", "path"),
    sorted({(route.method, route.path) for route in ROUTES if route.headers == TENANT}),
)
async def test_request_without_a_tenant_token_is_answered_401(
    edge: httpx.AsyncClient, rpc: FakeRpc, method: str, path: str, authorization: str | None
) -> None:
    """The challenge has no error, and the edge asks no worker."""
    headers = {} if authorization is None else {"Authorization": authorization}
    body = {
        "login": "ada",
        "email": "a@b",
        "password": "long enough",
        "deviceId": "d",
        "token": "t",
        "currentPassword": "x",
    }
    response = await edge.request(method, path, headers=headers, json=body)

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="jincor-auth"'
    assert response.json()["code"] == "invalid_tenant_token"
    assert rpc.calls == []


async def test_failed_check_of_a_batch_fails_only_its_own_request(edge: httpx.AsyncClient, rpc: FakeRpc) -> None:
    rpc.answers["auth.verify"] = {"answers": [{"error": {"code": "invalid_token", "message": "invalid token"}}]}

    response = await edge.post("/auth/verify", json={"token": "t"}, headers=TENANT)

    assert (response.status_code, response.json()["error"]) == (400, "invalid token")
