"""One user by its login: over HTTP and through the client."""

import uuid
from urllib.parse import quote

import pytest

from shared.client.auth_client import AuthClient
from shared.contracts.errors import UserNotFound
from tests.e2e.tenant import PASSWORD, Tenant
from tests.e2e.test_users import ODD_LOGINS
from tests.service import RunningService


@pytest.mark.parametrize("login", ODD_LOGINS)
async def test_get_any_login_returns_that_user(tenant: Tenant, login: str) -> None:
    created = await tenant.create(login, scope={"company": ["read"]}, sub="42")
    found = await tenant.call("GET", tenant.path(login))
    assert (found.status_code, found.json()) == (200, created.json())


async def test_get_login_in_another_unicode_form_returns_the_user(tenant: Tenant) -> None:
    created = await tenant.create("Caf\u00e9")
    assert (await tenant.call("GET", tenant.path("Cafe\u0301"))).json() == created.json()


async def test_get_unknown_login_answers_404(tenant: Tenant) -> None:
    answer = await tenant.call("GET", tenant.path("nobody"))
    assert (answer.status_code, answer.json()["code"]) == (404, "user_not_found")


async def test_get_user_of_another_tenant_answers_404(tenant: Tenant) -> None:
    await tenant.create("ann")
    other = await Tenant.register(tenant.http)
    assert (await other.call("GET", other.path("ann"))).status_code == 404


async def test_get_without_tenant_token_answers_401(tenant: Tenant) -> None:
    await tenant.create("ann")
    assert (await tenant.http.get(f"/user/{quote('ann')}")).status_code == 401


async def test_client_gets_the_user_that_it_created(service: RunningService, tenant: Tenant) -> None:
    async with AuthClient.connect(
        service.amqp_url, name="shop", email=tenant.email, password=PASSWORD, timeout_seconds=30
    ) as auth:
        login = uuid.uuid4().hex
        created = await auth.users.create(login, PASSWORD, email="ann@users.test", sub="42")
        assert await auth.users.get(login) == created
        with pytest.raises(UserNotFound):
            await auth.users.get("nobody")
