"""Guessing at passwords over HTTP, at two edges and two workers that share what was tried."""

import asyncio
from collections import Counter

import httpx

from shared.client import AuthClient
from shared.contracts.errors import Throttled
from tests.e2e.tenant import PASSWORD, Tenant
from tests.service import RunningService

#: The default of `AUTH_THROTTLE_ACCOUNT_FAILURES`.
FREE = 5


async def test_guesses_at_once(service: RunningService, http: httpx.AsyncClient, tenant: Tenant) -> None:
    """Of 50 wrong passwords at once five are looked at; the others are told when to come back, and that is true."""
    await tenant.create("ann")
    async with httpx.AsyncClient(base_url=service.urls[1], timeout=30) as other_edge:
        edges = [tenant, tenant.through(other_edge)]
        for login in ("ann", "nobody"):
            answers = await asyncio.gather(*(edges[number % 2].login(login, "wrong") for number in range(50)))
            assert Counter(answer.status_code for answer in answers) == {403: FREE, 429: 50 - FREE}
            refused = [answer for answer in answers if answer.status_code == 429]
            assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
            assert {answer.json()["code"] for answer in refused} == {"throttled"}
        await asyncio.sleep(1)  # as told
        assert (await tenant.login("ann")).status_code == 200
        assert (await tenant.login("nobody")).status_code == 403
    credentials = {"email": tenant.email, "password": "wrong"}
    answers = await asyncio.gather(*(http.post("/tenant/login", json=credentials) for _ in range(20)))
    assert Counter(answer.status_code for answer in answers) == {403: FREE, 429: 20 - FREE}


async def test_right_passwords_at_once(tenant: Tenant) -> None:
    """As when many processes start together: nobody is in another's way."""
    await tenant.create("ann")
    answers = await asyncio.gather(*(tenant.login("ann") for _ in range(40)))
    assert Counter(answer.status_code for answer in answers) == {200: 40}


async def test_strangers_keep_nobody_out(service: RunningService, tenant: Tenant) -> None:
    """Who logs in from where it has before is let in while others guess; over AMQP as over HTTP."""
    await tenant.create("ann")
    async with AuthClient.connect(service.amqp_url, tenant_token=tenant.token) as auth:
        await auth.login("ann", PASSWORD, device_id="phone", client_address="2001:db8::1")
        body = {"login": "ann", "password": "wrong", "deviceId": "x", "clientAddress": "203.0.113.9"}
        statuses = [(await tenant.call("POST", "/auth", json=body)).status_code for _ in range(FREE + 1)]
        assert statuses == [403] * FREE + [429]
        # The network of one client, as its provider gave it.
        assert await auth.login("ann", PASSWORD, device_id="phone", client_address="2001:db8::2")
        try:
            await auth.login("ann", PASSWORD, device_id="phone", client_address="198.51.100.7")
        except Throttled as error:
            await asyncio.sleep(error.retry_after_seconds)
        assert await auth.login("ann", PASSWORD, device_id="phone", client_address="198.51.100.7")
