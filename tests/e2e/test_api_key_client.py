"""Services with an API key on the real stack: the client library, cached answers, feeds, and a rotation."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from shared.client.auth_client import AuthClient
from shared.contracts.errors import Forbidden, KeyNotFound, ServiceCredentialsRejected
from shared.contracts.events import SessionRevokedEvent
from tests.backends import Backend
from tests.e2e.tenant import PASSWORD, Tenant
from tests.e2e.test_api_keys import PARALLEL_USES, issue, until, using
from tests.service import RunningService, running_service

PATIENCE_SECONDS = 60
#: The bound of caches in docs/reliability.md: a live feed brings an event within milliseconds, and an interruption
#: that nobody has noticed lasts three seconds at most. The machine of the test may be busy.
FEED_SECONDS = 10
OF_SERVICE = ["auth:login", "events:read", "tokens:verify"]


def connect(service: RunningService, api_key: str) -> contextlib.AbstractAsyncContextManager[AuthClient]:
    return AuthClient.connect(service.amqp_url, api_key=api_key, name="notes")


async def until_raised(error: type[Exception], call: Callable[[], Awaitable[object]]) -> None:
    """Call until it raises this error."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                await call()
            except error:
                return
            await asyncio.sleep(0.02)


async def test_service_with_a_key_does_what_its_permissions_allow(service: RunningService, tenant: Tenant) -> None:
    await tenant.create("ann")
    issued = await issue(tenant, permissions=OF_SERVICE)
    async with connect(service, issued["apiKey"]) as auth:
        principal = await auth.principal()
        assert (principal.tenant, principal.session_id) == (tenant.id, issued["key"]["id"])
        assert list(principal.permissions) == OF_SERVICE
        token = await auth.login("ann", PASSWORD, device_id="laptop")
        assert (await auth.verify(token)).login == "ann"
        for call in (auth.users.list(), auth.keys.list(), auth.keys.create("wider", ["users:write"])):
            with pytest.raises(Forbidden):
                await call


async def test_keys_are_created_listed_rotated_and_revoked_by_the_client(
    service: RunningService, tenant: Tenant
) -> None:
    async with AuthClient.connect(service.amqp_url, email=tenant.email, password=PASSWORD) as auth:
        issued = await auth.keys.create("gateway", ["tokens:verify"], expires_in_days=7)
        rotated = await auth.keys.rotate(issued.key.id, overlap_seconds=0)
        assert [key.id for key in await auth.keys.list()] == [issued.key.id]
        with pytest.raises(ServiceCredentialsRejected):
            async with connect(service, issued.api_key):
                pass
        async with connect(service, rotated.api_key) as gateway:
            assert (await gateway.principal()).tenant == tenant.id
            await auth.keys.revoke(issued.key.id)
            with pytest.raises(ServiceCredentialsRejected):
                await gateway.principal()
        with pytest.raises(KeyNotFound):
            await auth.keys.revoke(issued.key.id)
        assert await auth.keys.list() == ()


async def test_no_cached_verification_under_a_revoked_key_succeeds(service: RunningService, tenant: Tenant) -> None:
    """200 verifications at a time run before, during and after the revocation.

    The cache answers from memory until the event arrives, within the bound of the feed. From then on none succeeds.
    """
    await tenant.create("ann")
    tokens = [await tenant.token_of("ann", f"device {number}") for number in range(4)]
    issued = await issue(tenant, permissions=["tokens:verify"])
    before: list[bool] = []
    after: list[bool] = []
    refused, out_of_bound = asyncio.Event(), asyncio.Event()
    async with connect(service, issued["apiKey"]) as auth, auth.verifier(max_age_seconds=600) as verifier:
        assert await verifier.wait_trusted(PATIENCE_SECONDS)

        async def keep_verifying(token: str) -> None:
            while True:
                ends = out_of_bound.is_set()
                is_after = refused.is_set()
                try:
                    await verifier.verify(token)
                    accepted = True
                except ServiceCredentialsRejected:
                    accepted = False
                    refused.set()
                (after if is_after else before).append(accepted)
                if ends:
                    return
                await asyncio.sleep(0)

        async with asyncio.timeout(4 * PATIENCE_SECONDS), asyncio.TaskGroup() as tasks:
            for number in range(PARALLEL_USES):
                tasks.create_task(keep_verifying(tokens[number % len(tokens)]))
            await until(5 * PARALLEL_USES, before)
            assert verifier.counts.hits > 3 * PARALLEL_USES
            assert (await tenant.call("DELETE", f"/keys/{issued['key']['id']}")).status_code == 200
            await asyncio.wait_for(refused.wait(), FEED_SECONDS)
            out_of_bound.set()
    assert before.count(True) > 4 * PARALLEL_USES
    assert len(after) >= PARALLEL_USES
    assert not any(after)


async def test_cached_answers_of_a_key_survive_a_password_change_and_end_with_the_tenant(
    service: RunningService, tenant: Tenant
) -> None:
    """A password change ends the sessions of the tenant, not those of its users."""
    await tenant.create("ann")
    token = await tenant.token_of("ann")
    issued = await issue(tenant, permissions=["tokens:verify"])
    async with connect(service, issued["apiKey"]) as auth, auth.verifier(max_age_seconds=600) as verifier:
        assert await verifier.wait_trusted(PATIENCE_SECONDS)
        await verifier.verify(token)
        changed = await tenant.call(
            "PATCH", "/tenant", json={"currentPassword": PASSWORD, "password": "a new one here"}
        )
        assert changed.status_code == 200
        hits = verifier.counts.hits
        for _ in range(20):
            await verifier.verify(token)
            await asyncio.sleep(0.05)
        assert verifier.counts.hits == hits + 20
        again = using(tenant.http, changed.json()["token"])
        assert (await again.call("POST", "/tenant/disable", json={"password": "a new one here"})).status_code == 200
        await until_raised(ServiceCredentialsRejected, lambda: verifier.verify(token))


async def test_feeds_of_a_key_end_when_it_is_revoked(service: RunningService, tenant: Tenant) -> None:
    """The feeds over AMQP, live and durable, and the stream of an edge deliver events until then."""
    await tenant.create("ann")
    token = await tenant.token_of("ann")
    issued = await issue(tenant, permissions=["events:read"])
    subscribed = asyncio.Event()
    received: dict[str, list[str]] = {"live": [], "durable": [], "handler": []}

    async def read(name: str, durable: str | None) -> None:
        async with contextlib.aclosing(
            auth.revocations(durable=durable, since=0 if durable is None else None)
        ) as events:
            async for event in events:
                received[name].append(event.data.session_id)

    async def handle(event: SessionRevokedEvent) -> None:
        received["handler"].append(event.data.session_id)

    async with connect(service, issued["apiKey"]) as auth, asyncio.timeout(2 * PATIENCE_SECONDS):
        tasks = [
            asyncio.create_task(read("live", None)),
            asyncio.create_task(read("durable", "mailer")),
            asyncio.create_task(auth.on_revocation(handle, durable="audit", on_subscribed=subscribed.set)),
            asyncio.create_task(_stream(tenant, issued["apiKey"])),
        ]
        await subscribed.wait()
        while not all(received.values()):  # the durable queue of the reader may be bound after a logout
            assert (await tenant.logout(token)).status_code == 200
            token = await tenant.token_of("ann")
            await asyncio.sleep(0.3)
        assert (await tenant.call("DELETE", f"/keys/{issued['key']['id']}")).status_code == 200
        for task in tasks[:3]:
            with pytest.raises(ServiceCredentialsRejected):
                await task
        assert await tasks[3] == ": the credential was revoked"
    assert all(sessions[-1] == issued["key"]["id"] for sessions in received.values())


async def _stream(tenant: Tenant, api_key: str) -> str:
    """Read an event stream to its end and return its last line."""
    headers = {"Authorization": f"Bearer {api_key}"}
    last = ""
    async with tenant.http.stream("GET", "/events", headers=headers, timeout=2 * PATIENCE_SECONDS) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            last = line or last
    return last


async def test_feeds_of_a_key_without_the_permission_are_forbidden(service: RunningService, tenant: Tenant) -> None:
    issued = await issue(tenant, permissions=["tokens:verify"])

    async def ignore(_: SessionRevokedEvent) -> None:
        raise AssertionError

    async with connect(service, issued["apiKey"]) as auth, asyncio.timeout(PATIENCE_SECONDS):
        for events in (auth.revocations(), auth.revocations(durable="mailer")):
            with pytest.raises(Forbidden, match="events:read"):
                await anext(events)
        with pytest.raises(Forbidden, match="events:read"):
            await auth.on_revocation(ignore, durable="audit")
    answer = await using(tenant.http, issued["apiKey"]).call("GET", "/events")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_rotation_of_a_services_key_with_an_overlap_fails_no_call(
    service: RunningService, tenant: Tenant
) -> None:
    """The old and the new process of a rolling update run side by side."""
    await tenant.create("ann")
    token = await tenant.token_of("ann")
    issued = await issue(tenant, permissions=["keys:read", "tokens:verify"])
    old_stops, new_stops = asyncio.Event(), asyncio.Event()
    results: list[bool] = []

    async def serve(api_key: str, stops: asyncio.Event) -> None:
        async with connect(service, api_key) as auth, auth.verifier(max_age_seconds=1) as verifier:

            async def work() -> None:
                while not stops.is_set():
                    await auth.verify(token)
                    await verifier.verify(token)
                    results.append(bool(await auth.keys.list()))

            async with asyncio.TaskGroup() as tasks:
                for _ in range(8):
                    tasks.create_task(work())

    async with asyncio.timeout(2 * PATIENCE_SECONDS), asyncio.TaskGroup() as processes:
        processes.create_task(serve(issued["apiKey"], old_stops))
        await until(100, results)
        rotated = await tenant.call("POST", f"/keys/{issued['key']['id']}/rotate", json={"overlapSeconds": 600})
        assert rotated.status_code == 200
        await until(200, results)
        processes.create_task(serve(rotated.json()["apiKey"], new_stops))
        await until(400, results)
        old_stops.set()
        await until(600, results)
        new_stops.set()
    assert all(results)


@pytest_asyncio.fixture
async def caching(backend: Backend, tmp_path: Path) -> AsyncIterator[RunningService]:
    """The service with two edges that cache verifications and trust a proxy."""
    env = {
        "AUTH_VERIFY_CACHE_SECONDS": "600",
        "AUTH_REGISTRATION_NETWORKS": "127.0.0.0/8",
        "AUTH_TRUSTED_PROXIES": "127.0.0.1",
    }
    async with running_service(tmp_path, await backend.vhost(), backend.database_url(), edges=2, env=env) as service:
        yield service


async def test_edges_cache_ends_with_the_key_behind_a_credential_and_asks_for_each_address(
    caching: RunningService,
) -> None:
    """The credentials are two API keys, an access token, and a key that is bound to a network."""
    async with (
        httpx.AsyncClient(base_url=caching.urls[0], timeout=30) as http,
        httpx.AsyncClient(base_url=caching.urls[1], timeout=30) as elsewhere,
    ):
        tenant = await Tenant.register(http)
        await tenant.create("ann")
        token = await tenant.token_of("ann")

        async def verify(credential: str, address: str = "192.0.2.1") -> int:
            headers = {"Authorization": f"Bearer {credential}", "X-Forwarded-For": address}
            answer = await http.post("/auth/verify", json={"token": token}, headers=headers)
            return answer.status_code

        async def until_cached(credential: str) -> None:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    assert await verify(credential) == 200
                    asked = _verifications(caching)
                    assert await verify(credential) == 200
                    await asyncio.sleep(0.1)  # a worker logs shortly after it replies
                    if _verifications(caching) == asked:
                        return

        walled = await issue(tenant, permissions=["tokens:verify"], networks=["192.0.2.0/24"])
        await until_cached(walled["apiKey"])
        assert await verify(walled["apiKey"], "198.51.100.1") == 403
        assert await verify(walled["apiKey"]) == 200

        of_client, of_key = [await issue(tenant, permissions=["tokens:verify"]) for _ in range(2)]
        form = {"grant_type": "client_credentials", "client_id": of_client["key"]["id"]}
        granted = await http.post("/oauth/token", data={**form, "client_secret": of_client["apiKey"]})
        access_token = granted.json()["access_token"]
        for credential, issued in ((access_token, of_client), (of_key["apiKey"], of_key)):
            await until_cached(credential)
            assert (await tenant.through(elsewhere).call("DELETE", f"/keys/{issued['key']['id']}")).status_code == 200
            async with asyncio.timeout(FEED_SECONDS):
                while (status := await verify(credential)) == 200:  # noqa: ASYNC110 - another process changes it
                    await asyncio.sleep(0.01)
            assert status == 401
        assert await verify(walled["apiKey"]) == 200


def _verifications(service: RunningService) -> int:
    return service.logs().count('"operation": "auth.verify"')
