"""Which node a reply goes to, as far as its address tells, and what becomes of replies while that is on trial."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aio_pika.exceptions import DeliveryError
from pamqp.commands import Basic

from shared.amqp.connection import ConnectionLost
from shared.contracts.auth_login import AuthLoginReply
from shared.contracts.errors import ErrorReply
from shared.contracts.health import HealthReply
from worker.replies import MAX_BODY_BYTES, MAX_TRIALS, Replies, node_of

#: As RabbitMQ 3.10 has made it.
ADDRESS = "amq.rabbitmq.reply-to.g1h2AA5yZXBseUAzNzEyNjYxMgAABC8AAAAAawNrgQ==.UEjM6ylt/7vpPmNhq19Pvw=="


def test_addresses_at_one_node_are_told_together() -> None:
    """Whatever process and key they name: that is what a first reply proves for the next ones."""
    other = "amq.rabbitmq.reply-to.g1h2AA5yZXBseUAzNzEyNjYxMgAAAGMAAAAAAAAAAw==.abc"
    assert node_of(ADDRESS) == node_of(other) == b"reply@37126612"


@pytest.mark.parametrize(
    "address",
    [
        "amq.rabbitmq.reply-to.g1h2AA5yZXBseUAzNzEyNjYxMgAABC8AAAAAawNr.a",  # a byte short
        "amq.rabbitmq.reply-to.g1h2AA5yZXBseUAzNzEyNjYxMgAABC8AAAAAawNrgXh4.a",  # two bytes long
        "amq.rabbitmq.reply-to.g1h2AA1yZXBseUAzNzEyNjYxMgAABC8AAAAAawNrgQ==.a",  # another length of the name
        "amq.rabbitmq.reply-to.g2dkABByYWJiaXRAbG9jYWxob3N0AAAAAAAAAAAAAAAA.abc",  # another kind of process id
        "amq.rabbitmq.reply-to.aGVsbG8gd29ybGQ=.a",
        "amq.rabbitmq.reply-to.abc.abc",
        "amq.rabbitmq.reply-to.__.a",
        "victim",
        "",
    ],
)
def test_what_is_made_otherwise_stands_for_itself(address: str) -> None:
    """RabbitMQ ends the connection for these; so none is taken for a node that has proved to be there."""
    assert node_of(address) == address.encode()


class FakeChannel:
    """Takes what is published on it, unless it is told what to do instead."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.bodies: list[bytes] = []
        self.instead: Callable[[], None] | None = None

    async def channel(self, **_: object) -> "FakeChannel":
        return self

    async def get_underlay_channel(self) -> "FakeChannel":
        return self

    async def basic_publish(self, body: bytes, *, properties: Basic.Properties, **_: object) -> None:
        await asyncio.sleep(0)
        if self.instead:
            self.instead()
        self.taken.append(properties.correlation_id or "")
        self.bodies.append(body)


class FakeReplies(Replies):
    """Connected to nothing, on two channels of the test's."""

    def __init__(self) -> None:
        super().__init__([], "fake")
        self.main, self.trial = FakeChannel(), FakeChannel()

    async def connect(self) -> None:
        await self._setup(self.main)  # type: ignore[arg-type]
        await self._setup_trial(self.trial)  # type: ignore[arg-type]
        self._connection.connected.set()

    async def lose(self) -> None:
        """Its connection is lost, and back; what is sent again is sent by the time this returns."""
        self._doubt()
        await asyncio.gather(*self._repeating)


@pytest.fixture
async def replies() -> FakeReplies:
    replies = FakeReplies()
    await replies.connect()
    return replies


def request(number: int) -> Any:
    return SimpleNamespace(reply_to=ADDRESS, correlation_id=f"{number}")


HEALTHY = HealthReply(database=True)


async def test_what_another_reply_has_released_is_sent_again_too(replies: FakeReplies) -> None:
    """After a loss all go out on trial at once, and one of them proves for all that their node is there."""
    await asyncio.gather(*(replies.send(request(number), HEALTHY) for number in range(4)))
    assert (replies.trial.taken, replies.main.taken) == (["0"], ["1", "2", "3"])
    await replies.lose()
    assert (replies.trial.taken, replies.main.taken[3:]) == (["0", "1"], ["2", "3"])
    await replies.lose()
    assert (replies.trial.taken, replies.main.taken[5:]) == (["0", "1", "2"], ["3"])


async def test_a_reply_that_no_connection_outlives_is_given_up(replies: FakeReplies) -> None:
    """Others wait for their turn meanwhile."""
    trials = 0

    def die() -> None:
        nonlocal trials
        trials += 1
        asyncio.get_running_loop().call_soon(asyncio.ensure_future, replies.connect())
        raise RuntimeError("closed")

    replies.trial.instead = die
    with pytest.raises(ConnectionLost):
        await asyncio.wait_for(replies.send(request(1), HEALTHY), 30)
    assert trials == MAX_TRIALS
    replies.trial.instead = None
    await replies.send(request(2), HEALTHY)
    assert replies.trial.taken == ["2"]


async def test_a_refusal_of_the_broker_is_no_other_error(replies: FakeReplies) -> None:
    """The consumer knows what to do about a lost reply."""

    def refuse() -> None:
        raise DeliveryError(None, None)  # type: ignore[arg-type]

    replies.trial.instead = refuse
    with pytest.raises(ConnectionLost):
        await replies.send(request(1), HEALTHY)


async def test_what_the_broker_would_not_take_is_an_internal_error(
    replies: FakeReplies, caplog: pytest.LogCaptureFixture
) -> None:
    """It would end the connection that everybody's replies are on."""
    await replies.send(request(1), AuthLoginReply(access_token="x" * MAX_BODY_BYTES))
    reply = ErrorReply.model_validate_json(replies.trial.bodies[0])
    assert (reply.code, caplog.messages) == ("internal", ["reply is too large"])
    assert vars(caplog.records[0])["incident"] == reply.incident
