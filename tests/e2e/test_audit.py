"""The audit trail over REST, from real workers and a real database."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import httpx
from motor.motor_asyncio import AsyncIOMotorClient

from shared.client.auth_client import AuthClient
from tests.e2e.tenant import PASSWORD, Tenant
from tests.service import RunningService

#: Polls of the trail, together thirty seconds. Refused attempts are written within a second.
POLLS = 300

Record = dict[str, Any]


async def trail(tenant: Tenant, **filters: Any) -> list[Record]:
    response = await tenant.call("GET", "/audit", params=filters)
    assert response.status_code == 200, response.text
    records: list[Record] = response.json()["records"]
    return records


async def trail_with(tenant: Tenant, complete: Callable[[Sequence[Record]], bool], **filters: Any) -> list[Record]:
    """Return the trail as soon as it is complete; refused attempts are written in batches."""
    for _ in range(POLLS):
        if complete(records := await trail(tenant, **filters)):
            break
        await asyncio.sleep(0.1)
    return records


async def test_trail_has_requests_and_refused_attempts_of_one_tenant(http: httpx.AsyncClient, tenant: Tenant) -> None:
    """Requests are recorded before their reply, refused attempts soon after."""
    other = await Tenant.register(http)
    for each in (tenant, other):
        await each.create("ann")
        await each.token_of("ann")
    assert (await tenant.call("PATCH", tenant.path("ann"), json={"scope": "all"})).is_success
    assert (await tenant.call("DELETE", tenant.path("ann"))).is_success
    done = [(each["type"], each["login"], each["outcome"]) for each in await trail(tenant)]
    assert done == [
        ("user.delete", "ann", "ok"),
        ("user.update", "ann", "ok"),
        ("auth.login", "ann", "ok"),
        ("user.create", "ann", "ok"),
        ("tenant.register", f"tenant:{tenant.email}", "ok"),
    ]
    assert [each["type"] for each in await trail(other)] == ["auth.login", "user.create", "tenant.register"]

    wrong = {"email": tenant.email, "password": "wrong"}
    assert (await http.post("/tenant/login", json=wrong)).status_code == 403
    assert (await tenant.login("nobody", "wrong")).status_code == 403
    refused = {"auth.login": None, "tenant.login": f"tenant:{tenant.email}"}
    records = await trail_with(tenant, lambda found: len(found) == len(done) + len(refused))
    found = {each["type"]: each["login"] for each in records if each["outcome"] == "invalid_credentials"}
    assert found == refused
    assert [each["clientAddress"] for each in records if each["type"] == "tenant.login"] == ["127.0.0.1"]
    assert len(await trail(other)) == 3


async def test_trail_is_paged_and_filtered_and_names_invalid_parameters(tenant: Tenant) -> None:
    for login in ("ann", "bob"):
        await tenant.create(login)
    everything = await trail(tenant)
    pages, cursor = [], "0"
    for _ in everything:
        reply = (await tenant.call("GET", "/audit", params={"limit": 1, "cursor": cursor})).json()
        pages += reply["records"]
        cursor = reply["nextCursor"]
    assert (pages, cursor) == (everything, "0")
    assert [each["login"] for each in await trail(tenant, type="user.create")] == ["bob", "ann"]
    assert await trail(tenant, login="bob", until=everything[0]["at"]) == []
    assert len(await trail(tenant, login="bob", since=everything[0]["at"])) == 1
    refused = await tenant.call("GET", "/audit", params={"type": "auth.verify", "cursor": "1", "limit": 0})
    assert refused.status_code == 422
    assert {problem["field"] for problem in refused.json()["errors"]} == {"type", "limit"}


async def test_trail_without_a_tenant_token_is_refused(http: httpx.AsyncClient, tenant: Tenant) -> None:
    await tenant.create("ann")
    token = await tenant.token_of("ann")
    assert (await Tenant(http, "", "", token).call("GET", "/audit")).status_code == 401
    assert (await http.get("/audit")).status_code == 401


async def test_client_reads_the_trail_over_amqp(service: RunningService, tenant: Tenant) -> None:
    await tenant.create("ann")
    async with AuthClient.connect(service.amqp_url, email=tenant.email, password=PASSWORD) as auth:
        [record] = (await auth.audit(type="user.create")).records
    assert (record.login, record.outcome) == ("ann", "ok")


async def test_audit_collection_contains_no_secret(service: RunningService, http: httpx.AsyncClient) -> None:
    """The test searches for right and wrong passwords, one typed as a login, keys and tokens."""
    known = {name: f"{name}-{secrets.token_hex(12)}" for name in ("tenantpw", "userpw", "newpw", "wrongpw", "login")}
    credentials = {"email": f"{secrets.token_hex(6)}@audit.test", "password": known["tenantpw"]}
    headers = {"X-Registration-Key": "let-me-in-please"}
    registered = (await http.post("/tenant", json=credentials, headers=headers)).json()
    tenant = Tenant(http, registered["id"], registered["email"], registered["token"])
    await tenant.create("ann", password=known["userpw"])
    token = (await tenant.login("ann", known["userpw"])).json()["accessToken"]
    await tenant.login("ann", known["wrongpw"])
    await tenant.login(known["login"], known["wrongpw"])
    await http.post("/tenant/login", json=credentials | {"password": known["wrongpw"]})
    await tenant.call("PATCH", tenant.path("ann"), json={"password": known["newpw"]})
    await trail_with(tenant, lambda found: sum(each["outcome"] != "ok" for each in found) == 3)

    client: AsyncIOMotorClient[Record] = AsyncIOMotorClient(service.mongo_url)
    try:
        stored = str(await client.get_default_database()["audit"].find({}).to_list(None))
    finally:
        client.close()
    assert tenant.id in stored, "the search looks at the right text"
    for secret in (*known.values(), headers["X-Registration-Key"], token, tenant.token):
        assert secret not in stored
        assert secret.rpartition(".")[2] not in stored
