"""Connections of replies: one per source, and a reply that cannot be sent is dropped at once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aio_pika.abc import AbstractConnection
from aiormq.exceptions import ChannelInvalidStateError
from pamqp.commands import Basic

from shared.contracts.auth_login import AuthLoginReply
from shared.contracts.errors import ErrorReply
from shared.contracts.health import HealthReply
from worker.amqp.replies import (
    FIRST_OPENING_SECONDS,
    MAX_REPLY_BYTES,
    MAX_SERVICES,
    Replies,
    ReplyConnection,
)

ADDRESS = "amq.rabbitmq.reply-to.g1h2AA5yZXBseUAzNzEyNjYxMgAABC8AAAAAawNrgQ==.UEjM6ylt/7vpPmNhq19Pvw=="
HEALTHY = HealthReply(database=True)
#: An address without a listener, so that the connection never opens.
NOWHERE = "amqp://guest:guest@127.0.0.1:9/"


class FakeChannel:
    """Records what is published on it, and is its own underlay; `lost` makes publishing fail."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.bodies: list[bytes] = []
        self.lost = False

    async def channel(self, **_: object) -> "FakeChannel":
        return self

    async def get_underlay_channel(self) -> "FakeChannel":
        return self

    async def basic_publish(self, body: bytes, *, properties: Basic.Properties, **_: object) -> None:
        await asyncio.sleep(0)
        if self.lost:
            raise ChannelInvalidStateError
        self.taken.append(properties.correlation_id or "")
        self.bodies.append(body)


class UnopenedConnection(ReplyConnection):
    """Never opens by itself: the test sets it up and loses its channel."""

    def __init__(self, service: str | None) -> None:
        super().__init__([NOWHERE], "test", service)
        self.channel = FakeChannel()

    async def open(self) -> None:
        self.channel.lost = False
        await self.set_up(cast(AbstractConnection, self.channel))


class Sources:
    """The connections of the sources that replies went to, in `opened` by their service."""

    def __init__(self) -> None:
        self.opened: dict[str | None, UnopenedConnection] = {}

    def connect(self, _urls: Sequence[str], _name: str, service: str | None) -> ReplyConnection:
        return self.opened.setdefault(service, UnopenedConnection(service))

    async def open(self, service: str | None) -> FakeChannel:
        """Open the connection of a service before its first request."""
        connection = self.opened.setdefault(service, UnopenedConnection(service))
        await connection.open()
        return connection.channel


@pytest.fixture
def sources() -> Sources:
    return Sources()


@pytest.fixture
async def replies(sources: Sources) -> AsyncIterator[Replies]:
    async with Replies([NOWHERE], "test", connect=sources.connect) as replies:
        yield replies


def request(number: int, exchange: str = "rpc") -> Any:
    return SimpleNamespace(reply_to=ADDRESS, correlation_id=f"{number}", exchange=exchange)


async def test_replies_to_each_source_use_their_own_connection(replies: Replies, sources: Sources) -> None:
    """Edges share one connection, and each service has its own."""
    edges, shop, mail = [await sources.open(source) for source in (None, "shop", "mail")]
    for number, exchange in enumerate(("rpc", "calls.shop", "calls.mail", "rpc", "calls.shop")):
        await replies.send(request(number, exchange), HEALTHY)
    assert (edges.taken, shop.taken, mail.taken) == (["0", "3"], ["1", "4"], ["2"])


async def test_first_reply_to_a_service_waits_for_its_connection(replies: Replies, sources: Sources) -> None:
    """The reply itself opens the connection."""
    sending = asyncio.create_task(replies.send(request(1, "calls.shop"), HEALTHY))
    await asyncio.sleep(0.01)
    assert not sending.done()
    channel = await sources.open("shop")
    await sending
    assert channel.taken == ["1"]


async def test_reply_on_a_lost_connection_is_dropped_at_once(
    replies: Replies, sources: Sources, caplog: pytest.LogCaptureFixture
) -> None:
    """The drops are logged once. Replies to other sources are sent."""
    edges, shop = await sources.open(None), await sources.open("shop")
    shop.lost = True
    await replies.send(request(1, "calls.shop"), HEALTHY)
    sources.opened["shop"].lose_channel()
    async with asyncio.timeout(FIRST_OPENING_SECONDS / 2):
        for number in range(2, 100):
            await replies.send(request(number, "calls.shop"), HEALTHY)
            await replies.send(request(number), HEALTHY)
    assert (len(shop.taken), len(edges.taken)) == (0, 98)
    assert not [record for record in caplog.records if "dropped" in record.message]
    for _ in range(2):
        await sources.open("shop")
    await replies.send(request(100, "calls.shop"), HEALTHY)
    assert shop.taken == ["100"]
    logged = [vars(record) for record in caplog.records if "dropped" in record.message]
    assert [(each["caller"], each["replies"]) for each in logged] == [("shop", 99)]


async def test_readiness_waits_for_the_connection_of_edges_to_reopen(replies: Replies, sources: Sources) -> None:
    """A lost connection of a service does not count."""
    await sources.open("shop")
    await sources.open(None)
    await replies.ready()
    sources.opened["shop"].lose_channel()
    await asyncio.wait_for(replies.ready(), FIRST_OPENING_SECONDS / 2)
    sources.opened[None].lose_channel()
    waiting = asyncio.create_task(replies.ready())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await sources.open(None)
    await asyncio.wait_for(waiting, FIRST_OPENING_SECONDS / 2)


async def test_replies_to_many_services_wait_briefly_on_few_connections(replies: Replies, sources: Sources) -> None:
    """The first replies to services wait together for a bounded time, later ones not at all. Services beyond the limit
    share one connection."""
    exchanges = [f"calls.service-{number}" for number in range(MAX_SERVICES + 10)]
    async with asyncio.timeout(30):
        await asyncio.gather(*(replies.send(request(1, exchange), HEALTHY) for exchange in exchanges * 2))
    assert len(sources.opened) == MAX_SERVICES + 2  # one for edges, one that is shared
    async with asyncio.timeout(FIRST_OPENING_SECONDS):
        for exchange in exchanges * 2:
            await replies.send(request(2, exchange), HEALTHY)
    shared = await sources.open("")
    for exchange in exchanges[-3:]:
        await replies.send(request(3, exchange), HEALTHY)
    assert shared.taken == ["3"] * 3


async def test_reply_over_the_size_limit_becomes_an_internal_error(
    replies: Replies, sources: Sources, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker would close the connection, which other replies use."""
    edges = await sources.open(None)
    await replies.send(request(1), AuthLoginReply(access_token="x" * MAX_REPLY_BYTES))
    reply = ErrorReply.model_validate_json(edges.bodies[0])
    logged = next(record for record in caplog.records if record.message == "reply is too large")
    assert (reply.code, vars(logged)["incident"]) == ("internal", reply.incident)
