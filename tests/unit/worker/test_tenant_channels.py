"""A tenant has one channel at a time, even if the broker closes it or does not."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aio_pika import Message
from aio_pika.exceptions import DeliveryError
from pamqp.commands import Basic

from worker.amqp.tenant_channels import CLOSE_CHECK_SECONDS, TenantChannels

SLOW, QUICK = "slow", "quick"
PATIENCE_SECONDS = 10


class FakeConnection:
    """Opens channels, which are their own exchange and underlay. A `busy` channel confirms nothing, and the broker
    does not close it."""

    def __init__(self) -> None:
        self.channels: dict[int, FakeChannel] = {}
        self.opened = 0
        self.busy = False
        self.transport = SimpleNamespace(connection=self)

    async def channel(self, number: int, *, publisher_confirms: bool) -> "FakeChannel":
        assert publisher_confirms
        assert number not in self.channels
        self.opened += 1
        self.channels[number] = FakeChannel(self, number, self.busy)
        return self.channels[number]


class FakeChannel:
    def __init__(self, connection: FakeConnection, number: int, busy: bool) -> None:
        self.connection, self.number, self.busy = connection, number, busy
        self.refuses = False

    async def get_exchange(self, _: str, **__: object) -> "FakeChannel":
        return self

    async def publish(self, _message: Message, _key: str, **_: object) -> None:
        await asyncio.sleep(0)
        if self.busy:
            await asyncio.Event().wait()
        if self.refuses:
            raise DeliveryError(None, Basic.Nack(1))

    async def close(self) -> None:
        if self.busy:
            raise TimeoutError  # the library stops waiting, and keeps the number
        del self.connection.channels[self.number]


@pytest.fixture
def connection() -> FakeConnection:
    return FakeConnection()


@pytest.fixture
def channels(connection: FakeConnection) -> TenantChannels:
    def lost(reason: str) -> None:
        raise AssertionError(reason)

    given: Any = connection
    return TenantChannels(given, lost)


async def publish(channels: TenantChannels, tenant: str, seconds: float = PATIENCE_SECONDS) -> None:
    async with asyncio.timeout(seconds):
        await channels.publish(tenant, Message(b""), "key")


async def test_tenant_uses_one_channel_until_a_refusal(channels: TenantChannels, connection: FakeConnection) -> None:
    """Afterwards it gets a new channel."""
    await asyncio.gather(*(publish(channels, SLOW) for _ in range(5)))
    assert connection.opened == 1
    connection.channels[1].refuses = True
    with pytest.raises(DeliveryError):
        await publish(channels, SLOW)
    await publish(channels, SLOW)
    assert (connection.opened, len(connection.channels)) == (2, 1)


async def test_tenant_with_a_busy_channel_gets_no_second_one(
    channels: TenantChannels, connection: FakeConnection
) -> None:
    """It gets one after the broker has closed the first. Events of other tenants are published."""
    connection.busy = True
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await publish(channels, SLOW, 0.05)
        connection.busy = False
        await publish(channels, QUICK)
    assert connection.opened == 2
    [stuck] = [channel for channel in connection.channels.values() if channel.busy]
    del connection.channels[stuck.number]
    await publish(channels, SLOW, CLOSE_CHECK_SECONDS + PATIENCE_SECONDS)
    assert connection.opened == 3
