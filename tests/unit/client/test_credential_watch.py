"""Subscriptions of a client with an API key end with the key."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from shared.client import credential_watch
from shared.client.credential_watch import CredentialWatch, while_accepted
from shared.contracts.errors import AuthError, Forbidden, ServiceCredentialsRejected, Unavailable
from shared.contracts.events import SessionRevokedEvent
from tests.records import a_revocation, some_claims

PATIENCE_SECONDS = 10


class Subscription:
    """A subscription whose events and credential a test controls."""

    def __init__(self) -> None:
        self.refusal: AuthError | None = None
        self.checks = 0
        self.events: asyncio.Queue[SessionRevokedEvent] = asyncio.Queue()
        self.is_closed = False
        self.watch = CredentialWatch(self.check)
        self.reading = while_accepted(self.read(), self.watch)

    async def check(self) -> None:
        self.checks += 1
        if self.refusal:
            raise self.refusal

    async def read(self) -> AsyncGenerator[SessionRevokedEvent, None]:
        try:
            while True:
                yield await self.events.get()
        finally:
            self.is_closed = True

    async def next(self) -> SessionRevokedEvent:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await anext(self.reading)


async def test_subscription_of_a_credential_without_the_permission_is_refused_at_once() -> None:
    subscription = Subscription()
    subscription.refusal = Forbidden.without("events:read")
    with pytest.raises(Forbidden, match="events:read"):
        await subscription.next()
    assert subscription.is_closed


async def test_event_of_the_tenants_own_session_makes_the_watch_check_at_once() -> None:
    """An event of a user does not."""
    subscription = Subscription()
    of_user = a_revocation(some_claims())
    of_key = of_user.model_copy(update={"data": of_user.data.model_copy(update={"user": None})})
    for _ in range(3):
        subscription.events.put_nowait(of_user)
        assert await subscription.next() == of_user
    assert subscription.checks == 1
    subscription.refusal = ServiceCredentialsRejected()
    subscription.events.put_nowait(of_key)
    assert await subscription.next() == of_key
    with pytest.raises(ServiceCredentialsRejected):
        await subscription.next()
    assert subscription.is_closed
    assert subscription.checks == 2


async def test_key_that_ends_without_an_event_ends_the_subscription(monkeypatch: pytest.MonkeyPatch) -> None:
    """It expires, or its event is late. An outage of the workers ends nothing."""
    monkeypatch.setattr(credential_watch, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(credential_watch, "RETRY_SECONDS", 0.01)
    subscription = Subscription()
    subscription.refusal = Unavailable()
    waiting = asyncio.create_task(subscription.next())
    async with asyncio.timeout(PATIENCE_SECONDS):
        while subscription.checks < 3:  # noqa: ASYNC110 - the watch has no event for the test
            await asyncio.sleep(0.01)
    event = a_revocation(some_claims())
    subscription.events.put_nowait(event)
    assert await waiting == event
    subscription.refusal = ServiceCredentialsRejected()
    with pytest.raises(ServiceCredentialsRejected):
        await subscription.next()


async def test_cancelled_reader_closes_the_subscription() -> None:
    subscription = Subscription()
    waiting = asyncio.create_task(subscription.next())
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not subscription.checks:  # noqa: ASYNC110 - the watch has no event for the test
            await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert subscription.is_closed
