"""API keys on the real stack, over HTTP and AMQP: revocation, rotation under load, isolation and secrecy."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import aio_pika
import httpx
import pytest
import pytest_asyncio

from shared.amqp.rpc_client import RpcClient
from shared.contracts.api_key import new_api_key
from shared.contracts.errors import InvalidTenantToken, Temporary
from shared.contracts.principal_get import PRINCIPAL_GET, PrincipalGetRequest
from shared.contracts.user_list import USER_LIST, UserListRequest
from tests.e2e.tenant import PASSWORD, Tenant
from tests.service import RunningService

#: Sends one request with this credential, and returns whether it was accepted. None: a busy service answered neither.
Use = Callable[[str], Awaitable[bool | None]]
PARALLEL_USES = 200
USERS = ["keys:read", "keys:write", "tokens:verify", "users:read"]


async def issue(tenant: Tenant, **fields: Any) -> dict[str, Any]:
    """Create a key and return the response body."""
    response = await tenant.call("POST", "/keys", json={"name": "gateway", "permissions": USERS, **fields})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def using(http: httpx.AsyncClient, api_key: str) -> Tenant:
    """Return a tenant that sends requests with an API key."""
    return Tenant(http, "", "", api_key)


async def until(count: int, results: Sequence[bool | None]) -> None:
    """Wait until there are so many results, for a minute at most."""
    for _ in range(6_000):
        if len(results) >= count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{len(results)} results instead of {count}")


@pytest_asyncio.fixture
async def uses(service: RunningService, http: httpx.AsyncClient) -> AsyncIterator[list[Use]]:
    """Return the ways to use a key: over HTTP at both edges, and over AMQP, in two lanes."""
    async with (
        RpcClient([service.amqp_url], "a service") as rpc,
        httpx.AsyncClient(base_url=service.urls[1], timeout=30) as other,
    ):
        assert await rpc.wait_connected(30)

        def over_http(client: httpx.AsyncClient, path: str) -> Use:
            async def use(api_key: str) -> bool | None:
                response = await client.get(path, headers={"Authorization": f"Bearer {api_key}"})
                assert response.status_code in {200, 401, 503, 504}, response.text
                return {200: True, 401: False}.get(response.status_code)

            return use

        def over_amqp(send: Callable[[str], Awaitable[object]]) -> Use:
            async def use(api_key: str) -> bool | None:
                try:
                    await send(api_key)
                except InvalidTenantToken:
                    return False
                except Temporary:
                    return None
                return True

            return use

        yield [
            over_http(http, "/principal"),
            over_http(other, "/user"),
            over_amqp(lambda key: rpc.call(PRINCIPAL_GET, PrincipalGetRequest(tenant_token=key), timeout_seconds=30)),
            over_amqp(lambda key: rpc.call(USER_LIST, UserListRequest(tenant_token=key), timeout_seconds=30)),
        ]


async def test_no_use_that_begins_after_the_revocation_has_answered_succeeds(tenant: Tenant, uses: list[Use]) -> None:
    """200 requests at a time run before, during and after it, over HTTP and AMQP."""
    issued = await issue(tenant)
    revoked = asyncio.Event()
    before: list[bool | None] = []
    after: list[bool | None] = []

    async def keep_using(use: Use) -> None:
        while True:
            is_after = revoked.is_set()
            accepted = await use(issued["apiKey"])
            (after if is_after else before).append(accepted)
            if is_after:
                return

    tasks = [asyncio.create_task(keep_using(uses[number % len(uses)])) for number in range(PARALLEL_USES)]
    async with asyncio.timeout(120):
        await until(PARALLEL_USES, before)
        assert (await tenant.call("DELETE", f"/keys/{issued['key']['id']}")).status_code == 200
        revoked.set()
        await asyncio.gather(*tasks)
    assert before.count(True) >= PARALLEL_USES / 2
    assert len(after) == PARALLEL_USES
    assert True not in after
    assert after.count(False) >= PARALLEL_USES / 2


async def test_rotation_under_load_fails_no_request(tenant: Tenant, uses: list[Use]) -> None:
    """Callers take the new secret whenever they like within the overlap; a rotation does it for all of them."""
    issued = await issue(tenant)
    current = issued["apiKey"]
    done = asyncio.Event()
    accepted: list[bool | None] = []

    async def keep_using(use: Use, delay_seconds: float) -> None:
        while not done.is_set():
            api_key = current
            for _ in range(3):  # an older secret is used for a while after a rotation
                accepted.append(await use(api_key))
                await asyncio.sleep(delay_seconds)

    tasks = [asyncio.create_task(keep_using(uses[number % len(uses)], 0.01 * (number % 5))) for number in range(20)]
    async with asyncio.timeout(120):
        for number in range(1, 4):
            response = await tenant.call("POST", f"/keys/{issued['key']['id']}/rotate", json={"overlapSeconds": 600})
            assert response.status_code == 200, response.text
            current = response.json()["apiKey"]
            await until(200 * number, accepted)
        done.set()
        await asyncio.gather(*tasks)
    assert False not in accepted
    assert accepted.count(True) >= 500


async def test_key_of_one_tenant_is_useless_in_another(http: httpx.AsyncClient, tenant: Tenant) -> None:
    await tenant.create("ann")
    token = await tenant.token_of("ann")
    other = await Tenant.register(http)
    foreign = using(http, (await issue(other, permissions=[*USERS, "auth:login"]))["apiKey"])
    own = await issue(tenant)
    assert (await using(http, own["apiKey"]).verify(token)).status_code == 200
    refusals = [
        await foreign.verify(token),
        await foreign.call("GET", "/user/ann"),
        await foreign.login("ann"),
        await foreign.call("POST", f"/keys/{own['key']['id']}/rotate", json={}),
        await foreign.call("DELETE", f"/keys/{own['key']['id']}"),
    ]
    assert [refusal.status_code for refusal in refusals] == [400, 404, 403, 404, 404]
    named = {"Authorization": f"Bearer {foreign.token}", "X-Tenant-ID": tenant.id}
    assert (await http.get("/user", headers=named)).json()["code"] == "forbidden"


async def test_key_lives_as_its_tenant_decides(http: httpx.AsyncClient, tenant: Tenant) -> None:
    """It survives a change of the tenant's password unless asked otherwise, and its last use is shown."""
    kept = await issue(tenant)
    body = {"currentPassword": PASSWORD, "password": "another fine password"}
    assert (await tenant.call("PATCH", "/tenant", json=body)).status_code == 200
    key = using(http, kept["apiKey"])
    assert (await key.call("GET", "/user")).status_code == 200
    last_used = None
    for _ in range(300):
        if last_used := (await key.call("GET", "/keys")).json()["keys"][0]["lastUsedAt"]:
            break
        await asyncio.sleep(0.1)
    assert last_used is not None
    assert last_used % 60_000 == 0
    login = await http.post("/tenant/login", json={"email": tenant.email, "password": "another fine password"})
    again = Tenant(http, tenant.id, tenant.email, login.json()["token"])
    revoking = {"currentPassword": "another fine password", "revokeKeys": True}
    assert (await again.call("PATCH", "/tenant", json=revoking)).status_code == 200
    assert (await key.call("GET", "/user")).status_code == 401


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x", "permissions": ["users:read"], "networks": ["10.0.0.1/8"]}, "networks.0"),
        ({"name": "x", "permissions": ["tenants:read"]}, "permissions"),
        ({"name": "x", "permissions": ["users:read"], "expiresInDays": 9_999}, "expiresInDays"),
    ],
)
async def test_bad_member_gets_422_that_names_it(tenant: Tenant, body: dict[str, Any], field: str) -> None:
    response = await tenant.call("POST", "/keys", json=body)
    assert response.status_code == 422
    assert [each["field"] for each in response.json()["errors"]] == [field]


async def test_logs_errors_events_and_audit_contain_no_key(
    service: RunningService, http: httpx.AsyncClient, tenant: Tenant
) -> None:
    """Keys are used rightly and wrongly, and all output is searched for their secrets."""
    outputs: list[str] = []
    async with await aio_pika.connect(service.amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind("events", routing_key=f"session.revoked.{tenant.id}")
        issued = await issue(tenant)
        key_id = issued["key"]["id"]
        rotated = (await tenant.call("POST", f"/keys/{key_id}/rotate", json={})).json()
        narrow = await issue(tenant, permissions=["tokens:verify"])
        walled = await issue(tenant, networks=["192.0.2.0/24"])
        wrong = new_api_key(key_id)
        keys = [issued["apiKey"], rotated["apiKey"], narrow["apiKey"], walled["apiKey"], wrong]
        for api_key in keys:
            user = using(http, api_key)
            for mistake in (
                user.call("POST", "/user", json={"login": api_key, "password": api_key}),
                user.call("POST", "/keys", json={"name": api_key, "permissions": [api_key], "networks": [api_key]}),
                user.call("POST", "/keys/unknown/rotate", json={"overlapSeconds": api_key}),
                user.verify(api_key),
                user.call("GET", f"/{api_key}"),
                http.post("/tenant/verify", json={"token": api_key}),
                http.post("/tenant/logout", json={"token": api_key}),
                http.get("/user", headers={"Authorization": f"Bearer {api_key}x"}),
                http.post("/introspect", data={"token": api_key}, auth=(key_id, api_key[:-1])),
                user.call("PATCH", "/tenant", json={"currentPassword": api_key, "password": PASSWORD}),
            ):
                response = await mistake
                assert response.is_error, response.text
                outputs.append(response.text)
        outputs.append((await tenant.call("GET", "/keys")).text)
        assert (await tenant.call("DELETE", f"/keys/{key_id}")).status_code == 200
        async with asyncio.timeout(30), queue.iterator() as messages:
            async for message in messages:
                await message.ack()
                data = json.loads(message.body)["data"]
                assert (data["sessionId"], data["user"], data["login"]) == (key_id, None, f"tenant:{tenant.email}")
                outputs.append(message.body.decode())
                break
    records = (await tenant.call("GET", "/audit")).json()["records"]
    of_key = {(each["type"], each["sessionId"]) for each in records if each["type"].startswith("key.")}
    assert {(f"key.{name}", key_id) for name in ("create", "rotate", "revoke")} <= of_key
    outputs.append(json.dumps(records))
    everything = "\n".join((*outputs, service.logs()))
    assert key_id in everything, "the search looks at the right text"
    for api_key in keys:
        assert api_key[26:69] not in everything
