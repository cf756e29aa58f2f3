"""Password change, disabling and deletion of tenants, over HTTP and AMQP."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from shared.client.auth_client import AuthClient
from shared.contracts.errors import InvalidRequest, ServiceCredentialsRejected, TenantNotFound
from tests.e2e.tenant import PASSWORD, Tenant
from tests.service import RunningService

KEY = "let-me-in-please"
NEW_PASSWORD = "another fine password"


async def login(http: httpx.AsyncClient, tenant: Tenant, password: str = PASSWORD) -> httpx.Response:
    return await http.post("/tenant/login", json={"email": tenant.email, "password": password})


@pytest_asyncio.fixture
async def operator(service: RunningService) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the second edge with only the registration key."""
    headers = {"X-Registration-Key": KEY}
    async with httpx.AsyncClient(base_url=service.urls[1], timeout=30, headers=headers) as http:
        yield http


async def test_new_tenant_password_revokes_tenant_tokens_and_keeps_user_sessions(
    http: httpx.AsyncClient, tenant: Tenant
) -> None:
    """The reply contains a new tenant token."""
    await tenant.create("ann")
    token = await tenant.token_of("ann")
    body = {"currentPassword": PASSWORD, "password": NEW_PASSWORD}
    wrong = await tenant.call("PATCH", "/tenant", json=body | {"currentPassword": "wrong"})
    assert (wrong.status_code, wrong.json()["code"]) == (403, "invalid_credentials")
    common = await tenant.call("PATCH", "/tenant", json=body | {"password": "Password1"})
    assert (common.status_code, common.json()["errors"][0]["field"]) == (422, "password")
    changed = await tenant.call("PATCH", "/tenant", json=body)
    assert changed.status_code == 200
    assert changed.json()["token"] == changed.json()["accessToken"]
    assert (await tenant.verify(token)).status_code == 401
    again = Tenant(http, tenant.id, tenant.email, changed.json()["token"])
    assert (await again.verify(token)).status_code == 200
    assert (await login(http, tenant)).status_code == 403
    assert (await login(http, tenant, NEW_PASSWORD)).status_code == 200


async def test_disabled_tenant_is_refused_and_enabled_without_its_old_tokens(
    http: httpx.AsyncClient, operator: httpx.AsyncClient, tenant: Tenant
) -> None:
    await tenant.create("ann")
    token = await tenant.token_of("ann")
    assert (await operator.post("/tenant/disable", json={"email": tenant.email})).json() == {"result": 1}
    assert (await tenant.verify(token)).status_code == 401
    assert (await tenant.login("ann")).status_code == 401
    assert (await login(http, tenant)).status_code == 403
    assert (await operator.post("/tenant/enable", json={"email": tenant.email})).json() == {"result": 1}
    back = Tenant(http, tenant.id, tenant.email, (await login(http, tenant)).json()["token"])
    assert (await back.verify(token)).status_code == 400
    assert (await back.login("ann")).status_code == 200


async def test_deleted_tenants_email_registers_a_new_tenant_without_users(
    http: httpx.AsyncClient, tenant: Tenant
) -> None:
    await tenant.create("ann")
    assert (await tenant.call("POST", "/tenant/delete", json={"password": "wrong"})).status_code == 403
    assert (await tenant.call("POST", "/tenant/delete", json={"password": PASSWORD})).json() == {"result": 1}
    assert (await login(http, tenant)).status_code == 403
    registered = await http.post("/tenant", json={"email": tenant.email, "password": PASSWORD})
    assert registered.status_code == 200
    successor = Tenant(http, registered.json()["id"], tenant.email, registered.json()["token"])
    assert successor.id != tenant.id
    assert (await successor.call("GET", "/user")).json()["users"] == []


@pytest.mark.parametrize("action", ["disable", "enable", "delete"])
async def test_ending_a_tenant_without_proof_is_refused(http: httpx.AsyncClient, tenant: Tenant, action: str) -> None:
    """The registration networks do not open these operations."""
    body = {"email": tenant.email}
    without = await http.post(f"/tenant/{action}", json=body)
    assert without.status_code == (422 if action == "enable" else 401)
    wrong = await http.post(f"/tenant/{action}", json=body, headers={"X-Registration-Key": "not the key"})
    assert (wrong.status_code, wrong.json()["code"]) == (403, "invalid_credentials")
    assert (await tenant.call("GET", "/user")).status_code == 200


async def test_client_continues_after_password_change_and_ends_with_its_tenant(
    service: RunningService, tenant: Tenant
) -> None:
    async with (
        AuthClient.connect(service.amqp_url, email=tenant.email, password=PASSWORD) as auth,
        AuthClient.connect(service.amqp_url, anonymous=True) as operator,
    ):
        await auth.users.create("ann", PASSWORD, email="ann@users.test")
        with pytest.raises(InvalidRequest):
            await auth.tenant.update(PASSWORD, password=tenant.email)
        first = await auth.tenant.update(PASSWORD)
        second = await auth.tenant.update(PASSWORD, password=NEW_PASSWORD)
        assert first != second
        await auth.tenant.logout(second)
        assert await auth.login("ann", PASSWORD, device_id="phone"), "the client logs in with the new password"

        await operator.tenant.disable(email=tenant.email, registration_key=KEY)
        with pytest.raises(ServiceCredentialsRejected):
            await auth.login("ann", PASSWORD, device_id="phone")
        await operator.tenant.enable(tenant.email, registration_key=KEY)
        with pytest.raises(ServiceCredentialsRejected):
            await operator.tenant.delete(NEW_PASSWORD)
    async with AuthClient.connect(service.amqp_url, email=tenant.email, password=NEW_PASSWORD) as auth:
        assert await auth.login("ann", PASSWORD, device_id="phone")
        await auth.tenant.delete(NEW_PASSWORD)
    async with AuthClient.connect(service.amqp_url, anonymous=True) as operator:
        with pytest.raises(TenantNotFound):
            await operator.tenant.delete(email=tenant.email, registration_key=KEY)
