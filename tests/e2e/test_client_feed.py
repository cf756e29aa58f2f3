"""What `AuthClient` builds on the feed of revocations, against the running service: verification from memory, and
subscriptions."""

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


async def test_a_cached_verifier_goes_dark_on_logout(service: RunningService, tenant: Tenant) -> None:
    """It answers from memory, and hears of a logout that it was not told of otherwise."""
    await tenant.create("ann")
    token = await tenant.token_of("ann")
    async with (
        AuthClient.connect(service.amqp_url, email=tenant.email, password=PASSWORD) as auth,
        auth.verifier(max_age_seconds=600) as verifier,
    ):
        assert await verifier.wait_trusted(PATIENCE_SECONDS)
        claims = await verifier.verify(token)
        assert await verifier.verify(token) is claims  # from memory: the very object
        ended = asyncio.create_task(verifier.until_ended(token))
        assert (await tenant.logout(token)).is_success
        await asyncio.wait_for(ended, PATIENCE_SECONDS)
        with pytest.raises(InvalidToken):
            await verifier.verify(token)


async def test_a_cached_verifier_hears_of_every_cause(service: RunningService, tenant: Tenant) -> None:
    """Revoked, all revoked, password changed, user deleted."""
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


async def test_a_cached_verifier_that_was_cut_off_asks(service: RunningService, tenant: Tenant) -> None:
    """What it had in memory does not outlive the link, and it recovers by itself."""
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


async def test_revocations_are_read_as_they_happen(service: RunningService, tenant: Tenant) -> None:
    """Each with its reason; what happened before comes first when it is asked for; other tenants' do not come."""
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


async def test_a_durable_subscription_is_the_tenants_own(service: RunningService, tenant: Tenant) -> None:
    """Two tenants with a mailer each: the name is the same, the queues are not."""
    other = await Tenant.register(tenant.http)
    async with (
        AuthClient.connect(service.amqp_url, email=tenant.email, password=PASSWORD, name="mail") as mine,
        AuthClient.connect(service.amqp_url, email=other.email, password=PASSWORD, name="mail") as theirs,
        asyncio.TaskGroup() as group,
    ):
        told: dict[str, asyncio.Queue[SessionRevokedEvent]] = {"mine": asyncio.Queue(), "theirs": asyncio.Queue()}
        handlers = [
            group.create_task(auth.on_revocation(told[name].put, durable="mailer"))
            for name, auth in (("mine", mine), ("theirs", theirs))
        ]
        for auth in (mine, theirs):
            await auth.users.create("ann", PASSWORD, email="ann@users.test")
        # A queue collects from when it is bound, which nobody is told: so events until the first one arrives.
        for name, auth in (("mine", mine), ("theirs", theirs)):
            while told[name].empty():
                await auth.logout(await auth.login("ann", PASSWORD, device_id=name))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        event = await told[name].get()
                        told[name].put_nowait(event)
        for name, queue in told.items():
            assert {queue.get_nowait().data.device_id for _ in range(queue.qsize())} == {name}
        for handler in handlers:
            handler.cancel()


async def test_names_that_make_no_queue_are_refused(service: RunningService, tenant: Tenant) -> None:
    """A dot separates the parts of a queue's name, which the broker's permissions go by."""
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
