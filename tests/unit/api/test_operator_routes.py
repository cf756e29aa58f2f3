"""Routes of operators and of a tenant's settings: their requests to a worker."""

from typing import Any

import httpx
import pytest

from api.examples import EXAMPLES
from tests.unit.api.fake_rpc import FakeRpc
from tests.unit.api.test_routes import FROM, TENANT, TENANT_CALLER, Route

ON_SHOP = {**TENANT_CALLER, "onTenant": "shop"}
PROOF = {"tenantToken": "tenant-token", "onTenant": "shop", **FROM}
RESET = {"email": "Shop@Example.com", "code": "the code", "password": "long enough"}

ROUTES = [
    Route("GET", "/tenants", "tenant.list", TENANT_CALLER),
    Route(
        "GET",
        "/tenants?q=shop&cursor=abc&limit=7",
        "tenant.list",
        {**TENANT_CALLER, "q": "shop", "cursor": "abc", "limit": 7},
    ),
    Route("GET", "/tenants/shop", "tenant.get", ON_SHOP),
    Route("GET", "/tenants/a%2Fb", "tenant.get", {**TENANT_CALLER, "onTenant": "a/b"}),
    *(Route("POST", f"/tenants/shop/{word}", f"tenant.{word}", PROOF) for word in ("disable", "enable", "delete")),
    Route("DELETE", "/tenants/shop/sessions", "tenant.revoke_sessions", ON_SHOP),
    Route(
        "DELETE", "/tenants/shop/sessions?revokeKeys=true", "tenant.revoke_sessions", {**ON_SHOP, "revokeKeys": True}
    ),
    Route("POST", "/tenants/shop/reset", "tenant.reset", ON_SHOP),
    Route("POST", "/tenant/reset", "tenant.complete_reset", {**RESET, "email": "shop@example.com", **FROM}, RESET, {}),
    Route("GET", "/users?q=ada&limit=7", "user.search", {**TENANT_CALLER, "q": "ada", "limit": 7}),
    Route(
        "GET",
        "/audit/search?login=ada&type=auth.login&since=1",
        "audit.search",
        {**TENANT_CALLER, "login": "ada", "type": "auth.login", "since": 1},
    ),
    Route("GET", "/settings", "settings.get", TENANT_CALLER),
    Route("GET", "/settings", "settings.get", ON_SHOP, headers={**TENANT, "X-Tenant-ID": "shop"}),
    *(
        Route(
            "PATCH",
            "/settings",
            "settings.update",
            {**TENANT_CALLER, "settings": {"maxKeyLifetimeDays": days}},
            {"maxKeyLifetimeDays": days},
        )
        for days in (90, None)
    ),
]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_route_passes_request_and_reply_on_unchanged(edge: httpx.AsyncClient, rpc: FakeRpc, route: Route) -> None:
    response = await edge.request(route.method, route.path, json=route.body, headers=route.headers)
    [call] = rpc.calls
    assert (call.operation, call.request) == (route.operation, route.request)
    assert (response.status_code, response.json()) == (200, EXAMPLES[route.operation].reply)


@pytest.mark.parametrize(
    ("method", "path"), sorted({(route.method, route.path) for route in ROUTES if route.headers == TENANT})
)
async def test_request_without_a_token_is_answered_401(
    edge: httpx.AsyncClient, rpc: FakeRpc, method: str, path: str
) -> None:
    """The edge asks no worker."""
    response = await edge.request(method, path, json={"maxKeyLifetimeDays": 90})
    assert (response.status_code, response.json()["code"]) == (401, "invalid_tenant_token")
    assert rpc.calls == []


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({"maxKeyLifetimeDay": 90}, "(whole)", "must have no members but maxKeyLifetimeDays"),
        ({"maxKeyLifetimeDays": 0}, "maxKeyLifetimeDays", "Input should be greater than or equal to 1"),
        ({}, "(whole)", "provide at least one setting"),
    ],
)
async def test_unknown_or_wrong_setting_is_answered_422(
    edge: httpx.AsyncClient, rpc: FakeRpc, body: dict[str, Any], field: str, message: str
) -> None:
    response = await edge.patch("/settings", json=body, headers=TENANT)
    assert response.status_code == 422
    [problem] = response.json()["errors"]
    assert problem["field"] == field
    assert message in problem["message"]
    assert rpc.calls == []


@pytest.mark.parametrize("path", ["/users", "/audit/search"])
async def test_search_without_a_name_is_answered_422(edge: httpx.AsyncClient, path: str) -> None:
    assert (await edge.get(path, headers=TENANT)).status_code == 422


@pytest.mark.parametrize("other", ["another", "shop", ""])
async def test_request_that_names_two_tenants_is_refused(edge: httpx.AsyncClient, rpc: FakeRpc, other: str) -> None:
    """A proxy may have checked the other one. The edge asks no worker."""
    headers = [*TENANT.items(), ("X-Tenant-ID", "shop"), ("x-tenant-id", other)]
    response = await edge.request("GET", "/settings", headers=headers)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert response.json()["errors"] == [{"field": "X-Tenant-ID", "message": "must be given once"}]
    assert rpc.calls == []
