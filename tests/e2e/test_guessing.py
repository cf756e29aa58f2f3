"""Guessing at passwords over HTTP, at two edges and two workers that share what was tried."""

import asyncio
import functools
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import httpx

from shared.client.auth_client import AuthClient
from shared.contracts.errors import Throttled
from tests.e2e.tenant import PASSWORD, Tenant
from tests.service import RunningService

#: The default of `AUTH_THROTTLE_ACCOUNT_FAILURES`.
FREE = 5
#: After so many one has to wait for longer than any machine takes for a guess.
GUESSES = 20
#: Seconds that no machine takes for the step after it.
LONG_WAIT = 8

Guess = Callable[[int], Awaitable[httpx.Response]]


def allowed(seconds: float) -> int:
    """How many guesses are looked at in this time: the free ones, and one more after each wait."""
    waited = itertools.accumulate(1 << number for number in range(GUESSES))
    return FREE + sum(wait <= seconds for wait in waited)


async def guess_at_once(guess: Guess, times: int) -> None:
    """So many, of which no more are looked at than are allowed, and the others are told when to come back."""
    began = time.monotonic()
    answers = await asyncio.gather(*(guess(number) for number in range(times)))
    statuses = Counter(answer.status_code for answer in answers)
    assert FREE <= statuses[403] <= allowed(time.monotonic() - began)
    assert statuses[403] + statuses[429] == times
    for answer in answers:
        if answer.status_code == 429:
            assert answer.json()["code"] == "throttled"
            assert int(answer.headers["Retry-After"]) >= 1


async def guess_until_throttled(guess: Guess) -> int:
    """How long to wait then."""
    for number in range(GUESSES):
        answer = await guess(number)
        if answer.status_code == 429:
            return int(answer.headers["Retry-After"])
        assert answer.status_code == 403
    raise AssertionError("one may guess without end")


async def test_guesses_at_users(service: RunningService, tenant: Tenant) -> None:
    """Many at once, at two edges, at a user and at nobody; and who comes back as told is let in."""
    await tenant.create("ann")
    async with httpx.AsyncClient(base_url=service.urls[1], timeout=30) as other_edge:
        edges = [tenant, tenant.through(other_edge)]
        await guess_at_once(lambda number: edges[number % 2].login("nobody", "wrong"), 50)
        await guess_at_once(lambda number: edges[number % 2].login("ann", "wrong"), 50)
    await asyncio.sleep(await guess_until_throttled(lambda _: tenant.login("ann", "wrong")))
    assert (await tenant.login("ann")).status_code == 200


async def test_guesses_at_tenants(http: httpx.AsyncClient, tenant: Tenant) -> None:
    """As those at users."""
    credentials = {"email": tenant.email, "password": "wrong"}
    await guess_at_once(lambda _: http.post("/tenant/login", json=credentials), 20)
    await asyncio.sleep(await guess_until_throttled(lambda _: http.post("/tenant/login", json=credentials)))
    assert (await http.post("/tenant/login", json={**credentials, "password": PASSWORD})).status_code == 200


async def test_a_tenant_unlocks_a_user(service: RunningService, tenant: Tenant) -> None:
    """Over HTTP and over AMQP: whoever had to wait is let in at once."""
    await tenant.create("ann")

    async def over_http() -> None:
        assert (await tenant.call("PATCH", "/user/ann", json={"unlock": True})).status_code == 200

    async def over_amqp() -> None:
        async with AuthClient.connect(service.amqp_url, tenant_token=tenant.token) as auth:
            await auth.users.update("ann", unlock=True)

    def log_in(password: str, address: str, _: int = 0) -> Awaitable[httpx.Response]:
        where = {"login": "ann", "deviceId": "x", "clientAddress": address}
        return tenant.call("POST", "/auth", json={**where, "password": password})

    for number, unlock in enumerate((over_http, over_amqp)):
        address = f"203.0.113.{number}"
        guess = functools.partial(log_in, "wrong", address)
        while (wait := await guess_until_throttled(guess)) < LONG_WAIT:  # noqa: ASYNC110 - it is told how long
            await asyncio.sleep(wait)
        assert (await log_in(PASSWORD, address)).status_code == 429
        await unlock()
        assert (await log_in(PASSWORD, address)).status_code == 200
    for value in (False, None, "yes"):
        refused = await tenant.call("PATCH", "/user/ann", json={"unlock": value})
        assert (refused.status_code, [each["field"] for each in refused.json()["errors"]]) == (422, ["unlock"])


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
        await guess_until_throttled(lambda _: tenant.call("POST", "/auth", json=body))
        # The network of one client, as its provider gave it.
        assert await auth.login("ann", PASSWORD, device_id="phone", client_address="2001:db8::2")
        try:
            await auth.login("ann", PASSWORD, device_id="phone", client_address="198.51.100.7")
        except Throttled as error:
            await asyncio.sleep(error.retry_after_seconds)
        assert await auth.login("ann", PASSWORD, device_id="phone", client_address="198.51.100.7")
