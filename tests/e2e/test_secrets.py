"""Secrets in logs, error bodies and events."""

import asyncio
import secrets

import aio_pika
import httpx

from tests.e2e.tenant import Tenant
from tests.service import RunningService


async def test_logs_errors_and_events_contain_no_secret(service: RunningService, http: httpx.AsyncClient) -> None:
    """The whole workflow runs with known secrets, mistakes included, and all output is searched."""
    known = {name: f"{name}-{secrets.token_hex(12)}" for name in ("tenantpw", "userpw", "newpw", "wrongpw", "regkey")}
    errors: list[str] = []
    events: list[bytes] = []

    async with await aio_pika.connect(service.amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        credentials = {"email": f"{secrets.token_hex(6)}@secret.test", "password": known["tenantpw"]}
        headers = {"X-Registration-Key": known["regkey"]}
        registered = (await http.post("/tenant", json=credentials, headers=headers)).json()
        tenant = Tenant(http, registered["id"], registered["email"], registered["token"])
        await queue.bind(
            "events", routing_key=f"session.revoked.{tenant.id}"
        )  # events of other tenants may still arrive
        logged_in = await http.post("/tenant/login", json=credentials)
        tenant_token = logged_in.json()["token"]

        await tenant.create("keeper", password=known["userpw"])
        tokens = [(await tenant.login("keeper", known["userpw"])).json()["accessToken"] for _ in range(3)]
        assert (await tenant.verify(tokens[0])).status_code == 200

        for mistake in (
            tenant.create("keeper", password=known["userpw"]),
            tenant.create("", password=known["userpw"]),
            tenant.call("POST", "/user", json={"password": known["userpw"], "scope": [known["newpw"]]}),
            tenant.call("POST", "/user", content=b'{"password": "%s"' % known["userpw"].encode()),
            tenant.login("keeper", known["wrongpw"]),
            tenant.login("nobody", known["wrongpw"]),
            http.post("/tenant", json=credentials, headers=headers),
            http.post("/tenant/login", json=credentials | {"password": known["wrongpw"]}),
            tenant.verify(tokens[0] + "x"),
            tenant.call("GET", f"/{tokens[0]}"),
            tenant.call("PUT", "/user", json={"token": tokens[0]}),
            Tenant(http, "", "", tokens[1]).verify(tokens[0]),
        ):
            response = await mistake
            assert response.is_error
            errors.append(response.text)

        await tenant.logout(tokens[0])
        assert (await tenant.call("PATCH", tenant.path("keeper"), json={"password": known["newpw"]})).is_success
        assert (await tenant.call("DELETE", tenant.path("keeper"))).is_success
        async with queue.iterator(timeout=30) as messages:
            async for message in messages:
                events.append(message.body)
                await message.ack()
                if len(events) == len(tokens):
                    break

    # The signature is the secret of a token; ids and claims are not secret.
    signatures = [token.rpartition(".")[2] for token in (*tokens, tenant_token, registered["token"])]
    everything = "\n".join((*errors, *map(str, events), service.logs()))
    assert tenant.id in everything, "the search looks at the right text"
    for name, secret in (*known.items(), *(("a signature", signature) for signature in signatures)):
        assert secret not in everything, name


async def test_request_id_is_in_the_response_and_both_logs(service: RunningService, http: httpx.AsyncClient) -> None:
    given = f"test-{secrets.token_hex(8)}"
    answer = await http.post(
        "/tenant/login", json={"email": "a@b.test", "password": "x"}, headers={"X-Request-ID": given}
    )
    assert answer.headers["X-Request-ID"] == given
    made = (await http.get("/health/live")).headers["X-Request-ID"]
    assert made
    assert made != given
    services = await _services_that_logged(service, given, 2)
    assert services == {"api", "worker"}


async def test_request_id_of_a_coalesced_verification_is_in_the_workers_log(
    service: RunningService, http: httpx.AsyncClient, tenant: Tenant
) -> None:
    ids = [f"verify-{secrets.token_hex(8)}" for _ in range(20)]
    headers = {"Authorization": f"Bearer {tenant.token}"}
    await asyncio.gather(
        *(http.post("/auth/verify", json={"token": "x"}, headers=headers | {"X-Request-ID": each}) for each in ids)
    )
    for each in ids:
        assert await _services_that_logged(service, each, 2) == {"api", "worker"}


async def _services_that_logged(service: RunningService, text: str, expected: int) -> set[str]:
    """Return the services that logged this text. A process logs shortly after it replies."""
    found: set[str] = set()
    for _ in range(200):
        found = {
            name.partition("-")[0]
            for name, process in service.processes.items()
            if text in process.log_path.read_text()
        }
        if len(found) == expected:
            break
        await asyncio.sleep(0.05)
    return found
