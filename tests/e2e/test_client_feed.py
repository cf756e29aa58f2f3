"""`AuthClient` on the feed of revocations: cached verification and subscriptions."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

import pytest

from shared.client.auth_client import AuthClient
from shared.contracts.errors import InvalidToken
from shared.contracts.events import RevocationReason, SessionRevokedEvent
from tests.e2e.tenant import PASSWORD, Tenant
from tests.integration.proxy import Proxy
from tests.service import RunningService

PATIENCE_SECONDS = 30


async def test_cached_verifier_refuses_a_token_after_logout_elsewhere(service: RunningService, tenant: Tenant) -> None:
    await tenant.create("ann")
    token = await tenant.token_of("ann")
    async with (
        AuthClient.connect(service.amqp_url, email=tenant.email, password=PASSWORD) as auth,
        auth.verifier(max_age_seconds=600) as verifier,
    ):
        assert await verifier.wait_trusted(PATIENCE_SECONDS)
        claims = await verifier.verify(token)
        assert await verifier.verify(token) is claims  # the cached object
        ended = asyncio.create_task(verifier.until_ended(token))
        assert (await tenant.logout(token)).is_success
        await asyncio.wait_for(ended, PATIENCE_SECONDS)
        with pytest.raises(InvalidToken):
            await verifier.verify(token)


async def test_cached_verifier_receives_every_cause_of_revocation(service: RunningService, tenant: Tenant) -> None:
    async with (
        AuthClient.connect(service.amqp_url, email=tenant.email, password=PASSWORD) as auth,
        auth.verifier(max_age_seconds=600) as verifier,
    ):
        assert await verifier.wait_trusted(PATIENCE_SECONDS)
        await auth.users.create("ann", PASSWORD, email="ann@users.test")
        causes: Sequence[Callable[[str], Awaitable[object]]] = (
            lambda session: auth.sessions.revoke("ann", session),
            lambda _: auth.sessions.revoke_all("ann"),
            lambda _: auth.users.update("ann", password=PASSWORD),
            lambda _: auth.users.delete("ann"),
        )
        for cause in causes:
            token = await auth.login("ann", PASSWORD, device_id="laptop")
            claims = await verifier.verify(token)
            ended = asyncio.create_task(verifier.until_ended(token))
            await cause(claims.jti)
            await asyncio.wait_for(ended, PATIENCE_SECONDS)


async def test_cached_verifier_after_a_lost_connection_asks_a_worker(service: RunningService, tenant: Tenant) -> None:
    """The verifier becomes trusted again by itself."""
    await tenant.create("ann")
    token = await tenant.token_of("ann")
    async with (
        Proxy(service.amqp_url) as proxy,
        AuthClient.connect(proxy.url, email=tenant.email, password=PASSWORD) as behind,
        AuthClient.connect(service.amqp_url, email=tenant.email, password=PASSWORD) as auth,
        behind.verifier(max_age_seconds=600) as verifier,
    ):
        assert await verifier.wait_trusted(PATIENCE_SECONDS)
        kept = await verifier.verify(token)
        assert await verifier.verify(token) is kept
        await proxy.cut()
        await auth.logout(token)
        with pytest.raises(InvalidToken):
            await verifier.verify(token)
        assert await verifier.wait_trusted(PATIENCE_SECONDS)


async def test_subscription_delivers_past_and_live_revocations_of_one_tenant(
    service: RunningService, tenant: Tenant
) -> None:
    other = await Tenant.register(tenant.http)
    await other.create("ann")
    await other.token_of("ann")
    async with AuthClient.connect(service.amqp_url, email=tenant.email, password=PASSWORD) as auth:
        await auth.users.create("ann", PASSWORD, email="ann@users.test")
        first, second = [await auth.login("ann", PASSWORD, device_id="d") for _ in range(2)]
        begin = (await auth.verify(first)).iat
        await auth.logout(first)
        assert (await other.call("DELETE", other.path("ann", "sessions"))).is_success
        async with contextlib.aclosing(auth.revocations(since=begin)) as events:
            past = await asyncio.wait_for(anext(events), PATIENCE_SECONDS)
            await auth.sessions.revoke_all("ann")
            live = await asyncio.wait_for(anext(events), PATIENCE_SECONDS)
        assert [event.data.reason for event in (past, live)] == [RevocationReason.LOGOUT, RevocationReason.ALL_REVOKED]
        assert (await auth.introspect(second)).active is False


async def test_durable_subscriptions_of_two_tenants_with_one_name_are_separate(
    service: RunningService, tenant: Tenant
) -> None:
    other = await Tenant.register(tenant.http)
    async with (
        AuthClient.connect(service.amqp_url, email=tenant.email, password=PASSWORD, name="mail") as first_client,
        AuthClient.connect(service.amqp_url, email=other.email, password=PASSWORD, name="mail") as second_client,
        asyncio.TaskGroup() as group,
    ):
        received: dict[str, asyncio.Queue[SessionRevokedEvent]] = {
            "first_client": asyncio.Queue(),
            "second_client": asyncio.Queue(),
        }
        handlers = [
            group.create_task(auth.on_revocation(received[name].put, durable="mailer"))
            for name, auth in (("first_client", first_client), ("second_client", second_client))
        ]
        for auth in (first_client, second_client):
            await auth.users.create("ann", PASSWORD, email="ann@users.test")
        # A queue collects from when it is bound, which is not reported: publish until the first event arrives.
        for name, auth in (("first_client", first_client), ("second_client", second_client)):
            while received[name].empty():
                await auth.logout(await auth.login("ann", PASSWORD, device_id=name))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        event = await received[name].get()
                        received[name].put_nowait(event)
        for name, queue in received.items():
            assert {queue.get_nowait().data.device_id for _ in range(queue.qsize())} == {name}
        for handler in handlers:
            handler.cancel()


async def test_invalid_subscription_names_are_refused(service: RunningService, tenant: Tenant) -> None:
    """A dot separates the parts of a queue's name, which the broker permissions rely on."""
    for name in ("", "a.b", "a b", "x" * 65):
        with pytest.raises(ValueError, match="name must be"):
            async with AuthClient.connect(service.amqp_url, tenant_token="t", name=name):
                pass
    async with AuthClient.connect(service.amqp_url, tenant_token=tenant.token) as auth:
        with pytest.raises(ValueError, match="durable must be"):
            auth.revocations(durable="a.b")
        with pytest.raises(ValueError, match="attempts must be"):
            await auth.on_revocation(_nothing, durable="mailer", attempts=0)


async def _nothing(_: SessionRevokedEvent) -> None:
    return
