"""Operators over REST: two edges, two workers of each kind, a real database."""

import functools
import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest_asyncio

from shared.amqp.rpc_client import RpcClient
from shared.contracts import OPERATIONS
from shared.contracts.validation import validated
from tests.e2e.tenant import PASSWORD, Tenant
from tests.office import Office, open_office
from tests.service import RunningService
from worker.adapters.mongo_database import connect
from worker.domain.first_operator import OPERATORS_TENANT


@pytest_asyncio.fixture
async def office(service: RunningService) -> AsyncIterator[Office]:
    async with RpcClient([service.amqp_url], "a service") as rpc, connect(service.mongo_url) as database:
        assert await rpc.wait_connected(30)

        async def call(name: str, **fields: Any) -> Any:
            return await rpc.call(OPERATIONS[name], validated(OPERATIONS[name].request, **fields))

        yield await open_office(database, call)


async def ask(
    http: httpx.AsyncClient, token: str, method: str, path: str, tenant: str | None = None, **arguments: Any
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}", **({"X-Tenant-ID": tenant} if tenant else {})}
    return await http.request(method, path, headers=headers, **arguments)


async def test_operator_acts_on_a_tenant_and_both_trails_show_it(
    http: httpx.AsyncClient, tenant: Tenant, office: Office
) -> None:
    await tenant.create("ann")
    by_operator = functools.partial(ask, http, office.operator_token)
    assert (await by_operator("PATCH", "/user/ann", tenant.id, json={"scope": "all"})).json()["scope"] == "all"
    assert (await by_operator("GET", "/user")).status_code == 422
    [theirs] = (await tenant.call("GET", "/audit", params={"type": "user.update"})).json()["records"]
    assert (theirs["actor"], theirs["onTenant"]) == (f"operator:{office.operator}", None)
    trail = (await by_operator("GET", "/audit", OPERATORS_TENANT, params={"type": "user.update"})).json()["records"]
    [ours] = [record for record in trail if record["onTenant"] == tenant.id]
    assert (ours["actor"], ours["login"]) == (f"operator:{office.operator}", "ann")


async def test_withdrawn_permission_ends_at_every_worker_at_once(
    service: RunningService, http: httpx.AsyncClient, tenant: Tenant, office: Office
) -> None:
    path = f"/operators/{office.colleague}"
    login = {"login": office.colleague, "password": PASSWORD, "deviceId": "laptop"}
    by_operator = functools.partial(ask, http, office.operator_token)
    assert (await ask(http, office.token, "POST", "/operator/login", json=login)).status_code == 403
    assert (await by_operator("PATCH", path, json={"permissions": ["users:read"]})).is_success
    token = (await ask(http, office.token, "POST", "/operator/login", json=login)).json()["accessToken"]
    async with httpx.AsyncClient(base_url=service.urls[1], timeout=30) as other:
        for _ in range(10):
            assert (await ask(other, token, "GET", "/user", tenant.id)).is_success
        assert (await by_operator("PATCH", path, json={"permissions": []})).is_success
        for _ in range(10):
            refused = await ask(other, token, "GET", "/user", tenant.id)
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


async def test_logs_and_errors_of_operators_contain_no_secret(
    service: RunningService, http: httpx.AsyncClient, office: Office
) -> None:
    known = [f"{name}-{secrets.token_hex(12)}" for name in ("new", "wrong")]
    new, wrong = known
    by_operator = functools.partial(ask, http, office.operator_token)
    errors = [
        await by_operator("POST", "/operator/password", json={"currentPassword": wrong, "password": new}),
        await by_operator("POST", "/operator/password", json={"currentPassword": wrong}),
        await by_operator("PATCH", f"/operators/{office.colleague}", json={"permissions": [wrong]}),
        await ask(http, office.token, "POST", "/operator/logout"),
    ]
    assert all(response.is_error for response in errors)
    changed = await by_operator("POST", "/operator/password", json={"currentPassword": PASSWORD, "password": new})
    assert changed.json() == {"result": 1}
    assert (await by_operator("GET", "/operators")).json()["code"] == "invalid_tenant_token"
    login = {"login": office.operator, "password": new, "deviceId": "laptop"}
    token = (await ask(http, office.token, "POST", "/operator/login", json=login)).json()["accessToken"]
    assert (await ask(http, token, "POST", "/operator/logout")).json() == {"result": 1}
    everything = "\n".join((*(response.text for response in errors), service.logs()))
    assert "operator.set_password" in everything, "the search looks at the right text"
    for secret in (*known, *(each.rpartition(".")[2] for each in (token, office.operator_token, office.token))):
        assert secret not in everything
