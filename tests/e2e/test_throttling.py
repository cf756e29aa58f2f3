"""Throttled logins over HTTP at two edges and two workers that share the counts."""

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
UNDELAYED = 5
#: After this many attempts the wait is longer than any machine takes for an attempt.
MAX_ATTEMPTS = 20
#: Longer in seconds than any machine takes for the next step.
LONG_WAIT = 8

Attempt = Callable[[int], Awaitable[httpx.Response]]


def allowed(seconds: float) -> int:
    """Return how many attempts are allowed in this time: the undelayed ones, and one after each wait."""
    waited = itertools.accumulate(1 << number for number in range(MAX_ATTEMPTS))
    return UNDELAYED + sum(wait <= seconds for wait in waited)


async def attempt_at_once(attempt: Attempt, times: int) -> None:
    """Send this many attempts at once and require that those over the limit get a `Retry-After`."""
    began = time.monotonic()
    answers = await asyncio.gather(*(attempt(number) for number in range(times)))
    statuses = Counter(answer.status_code for answer in answers)
    assert UNDELAYED <= statuses[403] <= allowed(time.monotonic() - began)
    assert statuses[403] + statuses[429] == times
    for answer in answers:
        if answer.status_code == 429:
            assert answer.json()["code"] == "throttled"
            assert int(answer.headers["Retry-After"]) >= 1


async def attempt_until_throttled(attempt: Attempt) -> int:
    """Return the seconds to wait."""
    for number in range(MAX_ATTEMPTS):
        answer = await attempt(number)
        if answer.status_code == 429:
            return int(answer.headers["Retry-After"])
        assert answer.status_code == 403
    raise AssertionError("never throttled")


async def test_wrong_user_passwords_are_throttled_until_the_wait_is_over(
    service: RunningService, tenant: Tenant
) -> None:
    """Attempts go to two edges, for a known and an unknown login."""
    await tenant.create("ann")
    async with httpx.AsyncClient(base_url=service.urls[1], timeout=30) as other_edge:
        edges = [tenant, tenant.through(other_edge)]
        await attempt_at_once(lambda number: edges[number % 2].login("nobody", "wrong"), 50)
        await attempt_at_once(lambda number: edges[number % 2].login("ann", "wrong"), 50)
    await asyncio.sleep(await attempt_until_throttled(lambda _: tenant.login("ann", "wrong")))
    assert (await tenant.login("ann")).status_code == 200


async def test_wrong_tenant_passwords_are_throttled_until_the_wait_is_over(
    http: httpx.AsyncClient, tenant: Tenant
) -> None:
    credentials = {"email": tenant.email, "password": "wrong"}
    await attempt_at_once(lambda _: http.post("/tenant/login", json=credentials), 20)
    await asyncio.sleep(await attempt_until_throttled(lambda _: http.post("/tenant/login", json=credentials)))
    assert (await http.post("/tenant/login", json={**credentials, "password": PASSWORD})).status_code == 200


async def test_unlock_of_a_throttled_user_admits_the_next_login(service: RunningService, tenant: Tenant) -> None:
    """The tenant unlocks the user over HTTP and over AMQP."""
    await tenant.create("ann")

    async def over_http() -> None:
        assert (await tenant.call("PATCH", "/user/ann", json={"unlock": True})).status_code == 200

    async def over_amqp() -> None:
        async with AuthClient.connect(service.amqp_url, tenant_token=tenant.token) as auth:
            await auth.users.update("ann", unlock=True)

    def log_in(password: str, address: str, _: int = 0) -> Awaitable[httpx.Response]:
        origin = {"login": "ann", "deviceId": "x", "clientAddress": address}
        return tenant.call("POST", "/auth", json={**origin, "password": password})

    for number, unlock in enumerate((over_http, over_amqp)):
        address = f"203.0.113.{number}"
        attempt = functools.partial(log_in, "wrong", address)
        while (wait := await attempt_until_throttled(attempt)) < LONG_WAIT:  # noqa: ASYNC110 - the reply says how long
            await asyncio.sleep(wait)
        assert (await log_in(PASSWORD, address)).status_code == 429
        await unlock()
        assert (await log_in(PASSWORD, address)).status_code == 200
    for value in (False, None, "yes"):
        refused = await tenant.call("PATCH", "/user/ann", json={"unlock": value})
        assert (refused.status_code, [each["field"] for each in refused.json()["errors"]]) == (422, ["unlock"])


async def test_concurrent_right_passwords_are_not_throttled(tenant: Tenant) -> None:
    await tenant.create("ann")
    answers = await asyncio.gather(*(tenant.login("ann") for _ in range(40)))
    assert Counter(answer.status_code for answer in answers) == {200: 40}


async def test_login_from_a_known_origin_is_not_throttled_by_others(service: RunningService, tenant: Tenant) -> None:
    """The origin is the network of the client address."""
    await tenant.create("ann")
    async with AuthClient.connect(service.amqp_url, tenant_token=tenant.token) as auth:
        await auth.login("ann", PASSWORD, device_id="phone", client_address="2001:db8::1")
        body = {"login": "ann", "password": "wrong", "deviceId": "x", "clientAddress": "203.0.113.9"}
        await attempt_until_throttled(lambda _: tenant.call("POST", "/auth", json=body))
        # Another address in the same network of one client.
        assert await auth.login("ann", PASSWORD, device_id="phone", client_address="2001:db8::2")
        try:
            await auth.login("ann", PASSWORD, device_id="phone", client_address="198.51.100.7")
        except Throttled as error:
            await asyncio.sleep(error.retry_after_seconds)
        assert await auth.login("ann", PASSWORD, device_id="phone", client_address="198.51.100.7")
