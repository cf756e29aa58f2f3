"""Settings of a tenant, the end of a reset of its password, and routes of operators without an operator, over HTTP."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.e2e.tenant import PASSWORD, Tenant
from tests.service import RunningService
from worker.adapters.mongo_database import connect
from worker.adapters.mongo_tenants import MongoTenants
from worker.domain.records import StoredReset
from worker.domain.tenant_reset import LIFETIME, code_digest, new_code

NEW_PASSWORD = "another fine password"


async def test_settings_are_changed_read_and_applied(tenant: Tenant) -> None:
    assert (await tenant.call("GET", "/settings")).json() == {}
    changed = await tenant.call("PATCH", "/settings", json={"maxKeyLifetimeDays": 7})
    assert (changed.status_code, changed.json()) == (200, {"maxKeyLifetimeDays": 7})
    misspelt = await tenant.call("PATCH", "/settings", json={"maxKeyLifetime": 1})
    assert (misspelt.status_code, misspelt.json()["code"]) == (422, "invalid_request")
    assert (await tenant.call("GET", "/settings")).json() == {"maxKeyLifetimeDays": 7}
    created = await tenant.call("POST", "/keys", json={"name": "gateway", "permissions": ["tenant:read"]})
    expires_at = datetime.fromtimestamp(created.json()["key"]["expiresAt"] / 1_000, UTC)
    assert expires_at - datetime.now(UTC) < timedelta(days=7, minutes=1)
    trail = (await tenant.call("GET", "/audit?type=settings.update")).json()["records"]
    assert [record["changed"] for record in trail] == [["maxKeyLifetimeDays"]]


async def test_code_of_a_reset_sets_the_password_once(
    http: httpx.AsyncClient, tenant: Tenant, service: RunningService
) -> None:
    code = new_code()
    async with connect(service.mongo_url) as database:
        tenants = MongoTenants(database)
        stored = await tenants.find(tenant.id)
        assert stored is not None
        expires_at = datetime.now(UTC) + LIFETIME
        await tenants.begin_reset(stored, StoredReset("request", stored.generation, expires_at, (code_digest(code),)))
    body = {"email": tenant.email, "code": code, "password": NEW_PASSWORD}
    wrong = await http.post("/tenant/reset", json=body | {"code": "wrong"})
    assert (wrong.status_code, wrong.json()["code"]) == (403, "invalid_credentials")
    assert (await http.post("/tenant/reset", json=body)).json() == {"result": 1}
    assert (await http.post("/tenant/reset", json=body)).status_code == 403
    assert (await tenant.call("GET", "/settings")).status_code == 401
    for password, status in ((PASSWORD, 403), (NEW_PASSWORD, 200)):
        login = await http.post("/tenant/login", json={"email": tenant.email, "password": password})
        assert login.status_code == status


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/tenants"),
        ("GET", "/tenants/{id}"),
        ("POST", "/tenants/{id}/disable"),
        ("POST", "/tenants/{id}/enable"),
        ("POST", "/tenants/{id}/delete"),
        ("DELETE", "/tenants/{id}/sessions"),
        ("POST", "/tenants/{id}/reset"),
        ("GET", "/users?q=ann"),
        ("GET", "/audit/search?login=ann"),
    ],
)
async def test_tenant_is_no_operator(tenant: Tenant, method: str, path: str) -> None:
    """Not even over itself."""
    refused = await tenant.call(method, path.format(id=tenant.id))
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert "tenants:" in refused.json()["error"]
    assert (await tenant.call("GET", "/settings")).status_code == 200
