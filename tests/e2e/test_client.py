"""`AuthClient` against the running service, over AMQP only."""

import asyncio
import secrets
import time

import httpx
import pytest

from shared.client.auth_client import AuthClient
from shared.contracts.errors import (
    InvalidCredentials,
    InvalidRequest,
    InvalidToken,
    LoginTaken,
    ServiceCredentialsRejected,
    SessionNotFound,
    Unavailable,
    UserNotFound,
)
from tests.e2e.tenant import PASSWORD, Tenant
from tests.service import RunningService


async def test_user_life_through_the_client_raises_typed_errors(service: RunningService, tenant: Tenant) -> None:
    async with AuthClient.connect(service.amqp_url, email=tenant.email, password=PASSWORD) as auth:
        created = await auth.users.create("ann", PASSWORD, email="ann@users.test", scope="read")
        with pytest.raises(LoginTaken):
            await auth.users.create("ann", PASSWORD, email="ann@users.test")
        with pytest.raises(InvalidRequest) as refused:
            await auth.users.create("bob", "short", email="no email")
        assert [problem.field for problem in refused.value.problems] == ["email", "password"]

        token = await auth.login("ann", PASSWORD, device_id="laptop")
        with pytest.raises(InvalidCredentials):
            await auth.login("ann", "wrong password", device_id="laptop")
        claims = await auth.verify(token)
        assert (claims.id, claims.scope, claims.device_id) == (created.id, "read", "laptop")

        other = await auth.login("ann", PASSWORD, device_id="phone")
        assert [session.device_id for session in await auth.sessions.list("ann")] == ["phone", "laptop"]
        await auth.sessions.revoke("ann", claims.jti)
        with pytest.raises(InvalidToken):
            await auth.verify(token)
        with pytest.raises(SessionNotFound):
            await auth.sessions.revoke("ann", claims.jti)
        await auth.logout(other)
        with pytest.raises(InvalidToken):
            await auth.logout(other)

        assert (await auth.users.update("ann", scope=None, sub="s")).scope is None
        assert [user.login for user in (await auth.users.list("AN")).users] == ["ann"]
        await auth.sessions.revoke_all("ann")
        await auth.users.delete("ann")
        with pytest.raises(UserNotFound):
            await auth.users.delete("ann")


async def test_client_that_registers_a_tenant_continues_as_this_tenant(service: RunningService) -> None:
    """Registration over AMQP needs the registration key."""
    async with AuthClient.connect(service.amqp_url, anonymous=True) as auth:
        with pytest.raises(ServiceCredentialsRejected):
            await auth.users.list()
        email = f"{secrets.token_hex(6)}@client.test"
        tenant = await auth.tenant.register(email, PASSWORD, registration_key="let-me-in-please")
        assert (await auth.tenant.verify(tenant.token)).login == f"tenant:{email}"
        assert (await auth.users.list()).users == ()
        await auth.tenant.logout(tenant.token)
        assert (await auth.users.list()).users == ()  # with a new session of the same tenant


async def test_concurrent_calls_with_an_ended_tenant_session_log_in_once(
    service: RunningService, http: httpx.AsyncClient, tenant: Tenant
) -> None:
    await tenant.create("ann")
    token = await tenant.token_of("ann")
    async with AuthClient.connect(
        service.amqp_url, email=tenant.email, password=PASSWORD, tenant_token=tenant.token
    ) as auth:
        assert (await auth.verify(token)).login == "ann"
        assert (await http.post("/tenant/logout", json={"token": tenant.token})).is_success
        before = await _logins(service)
        answers = await asyncio.gather(*(auth.verify(token) for _ in range(20)))
        assert {claims.login for claims in answers} == {"ann"}
        assert await _logins(service, more_than=before) == before + 1


async def test_calls_without_a_broker_fail_before_their_deadline() -> None:
    started = time.monotonic()
    async with AuthClient.connect("amqp://guest:guest@127.0.0.1:9/", tenant_token="t", timeout_seconds=600) as auth:
        with pytest.raises(Unavailable):
            await auth.verify("t")
        with pytest.raises(Unavailable):
            await auth.logout("t")
    assert time.monotonic() - started < 60


async def _logins(service: RunningService, more_than: int = -1) -> int:
    """Count the tenant logins in the workers' logs. Workers log shortly after they reply."""
    count = 0
    for _ in range(200):
        count = service.logs().count('"operation": "tenant.login"')
        if count > more_than:
            break
        await asyncio.sleep(0.05)
    return count
