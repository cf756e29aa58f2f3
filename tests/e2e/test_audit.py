"""The audit trail over REST, from the real workers and the real database."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import httpx
from motor.motor_asyncio import AsyncIOMotorClient

from shared.client.auth_client import AuthClient
from tests.e2e.tenant import PASSWORD, Tenant
from tests.service import RunningService

#: Refused attempts are written a second later; these are some thirty.
LOOKS = 300

Record = dict[str, Any]


async def trail(tenant: Tenant, **wanted: Any) -> list[Record]:
    response = await tenant.call("GET", "/audit", params=wanted)
    assert response.status_code == 200, response.text
    records: list[Record] = response.json()["records"]
    return records


async def trail_with(tenant: Tenant, complete: Callable[[Sequence[Record]], bool], **wanted: Any) -> list[Record]:
    """The trail, once what is written in batches is there."""
    for _ in range(LOOKS):
        if complete(records := await trail(tenant, **wanted)):
            break
        await asyncio.sleep(0.1)
    return records


async def test_a_tenant_reads_what_was_done_and_tried(http: httpx.AsyncClient, tenant: Tenant) -> None:
    """What has been answered is on record at once, refused attempts soon after; of this tenant, and no other."""
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


async def test_pages_and_filters(tenant: Tenant) -> None:
    """Each record is on one page; filters leave out the others, and what is none is named."""
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


async def test_nobody_else_reads_it(http: httpx.AsyncClient, tenant: Tenant) -> None:
    """Neither a user of the tenant, nor who has no token."""
    await tenant.create("ann")
    token = await tenant.token_of("ann")
    assert (await Tenant(http, "", "", token).call("GET", "/audit")).status_code == 401
    assert (await http.get("/audit")).status_code == 401


async def test_over_amqp(service: RunningService, tenant: Tenant) -> None:
    """The client reads the same."""
    await tenant.create("ann")
    async with AuthClient.connect(service.amqp_url, email=tenant.email, password=PASSWORD) as auth:
        [record] = (await auth.audit(type="user.create")).records
    assert (record.login, record.outcome) == ("ann", "ok")


async def test_no_secret_is_in_the_collection(service: RunningService, http: httpx.AsyncClient) -> None:
    """Passwords, right ones and wrong ones, one typed as a login, a key and tokens: none is in any record."""
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
