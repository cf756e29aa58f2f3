"""Isolation of tenants and callers, also under concurrency."""

import asyncio
import random

import httpx

from tests.e2e.tenant import PASSWORD, Tenant
from tests.service import RunningService

USERS = 40
CHECKS = 600


async def test_coalesced_verifications_get_their_own_results(
    service: RunningService, http: httpx.AsyncClient, tenant: Tenant
) -> None:
    other = await Tenant.register(http)
    async with httpx.AsyncClient(
        base_url=service.urls[1], timeout=60, limits=httpx.Limits(max_connections=200)
    ) as busy:
        owners = {f"user {number}": (tenant if number % 3 else other).through(busy) for number in range(USERS)}
        await asyncio.gather(*(owner.create(login) for login, owner in owners.items()))
        tokens = {login: await owner.token_of(login) for login, owner in owners.items()}
        dead = {login for number, login in enumerate(owners) if number % 4 == 0}
        await asyncio.gather(*(owners[login].logout(tokens[login]) for login in dead))

        async def check(login: str) -> None:
            response = await owners[login].verify(tokens[login])
            if login in dead:
                assert response.status_code == 400, login
            else:
                decoded = response.json()["decoded"]
                assert (decoded["login"], decoded["tenant"]) == (login, owners[login].id)

        logins = [random.choice(list(owners)) for _ in range(CHECKS)]
        await asyncio.gather(*map(check, logins))


async def test_one_of_concurrent_creations_of_one_login_succeeds(tenant: Tenant) -> None:
    """The password of that request is the one that works."""
    passwords = [f"password number {number}" for number in range(50)]
    responses = await asyncio.gather(*(tenant.create("contested", password=password) for password in passwords))
    assert sorted(response.status_code for response in responses) == [200] + [409] * 49
    winner = passwords[[response.status_code for response in responses].index(200)]
    assert (await tenant.login("contested", winner)).status_code == 200


async def test_same_login_in_two_tenants_is_two_separate_users(http: httpx.AsyncClient, tenant: Tenant) -> None:
    other = await Tenant.register(http)
    own_user = (await tenant.create("same", password="my password")).json()
    other_user = (await other.create("same", password="their password")).json()
    assert own_user["id"] != other_user["id"]
    assert (await tenant.login("same", "their password")).status_code == 403

    token = (await other.login("same", "their password")).json()["accessToken"]
    assert (await tenant.verify(token)).status_code == 400
    assert (await tenant.logout(token)).status_code == 400
    assert (await other.verify(token)).status_code == 200, "the other tenant's logout changes nothing"

    session = (await other.call("GET", other.path("same", "sessions"))).json()["sessions"][0]["id"]
    assert (await tenant.call("DELETE", tenant.path("same", "sessions", session))).status_code == 404
    assert (await tenant.call("GET", tenant.path("same", "sessions"))).json() == {"sessions": []}
    assert [user["id"] for user in (await tenant.call("GET", "/user")).json()["users"]] == [own_user["id"]]

    assert (await tenant.call("DELETE", tenant.path("same"))).status_code == 200
    assert (await other.verify(token)).status_code == 200


async def test_tenant_and_user_tokens_are_not_interchangeable(http: httpx.AsyncClient, tenant: Tenant) -> None:
    await tenant.create("kind")
    token = await tenant.token_of("kind")
    assert (await tenant.verify(tenant.token)).status_code == 400
    assert (await tenant.logout(tenant.token)).status_code == 400
    assert (await http.post("/tenant/verify", json={"token": token})).status_code == 400
    assert (await http.post("/tenant/logout", json={"token": token})).status_code == 400
    impostor = Tenant(http, tenant.id, tenant.email, token)
    refused = await impostor.verify(token)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert (await tenant.verify(token)).status_code == 200


async def test_unknown_and_known_accounts_get_the_same_refusal(http: httpx.AsyncClient, tenant: Tenant) -> None:
    await tenant.create("known")
    wrong, unknown = await tenant.login("known", "not the password"), await tenant.login("unknown")
    assert wrong.status_code == unknown.status_code == 403
    assert _comparable(wrong) == _comparable(unknown)
    body = {"email": tenant.email, "password": "not the password"}
    wrong = await http.post("/tenant/login", json=body)
    unknown = await http.post("/tenant/login", json={**body, "email": "nobody@tenant.test"})
    assert wrong.status_code == unknown.status_code == 403
    assert _comparable(wrong) == _comparable(unknown)


async def test_tenant_email_in_any_case_is_registered_once(http: httpx.AsyncClient, tenant: Tenant) -> None:
    body = {"email": tenant.email.upper(), "password": PASSWORD}
    assert (await http.post("/tenant", json=body)).status_code == 409
    body["email"] = "contested@tenant.test"
    responses = await asyncio.gather(*(http.post("/tenant", json=body) for _ in range(10)))
    assert sorted(response.status_code for response in responses) == [200] + [409] * 9


def _comparable(response: httpx.Response) -> dict[str, object]:
    return {name: value for name, value in response.json().items() if name != "requestId"}
