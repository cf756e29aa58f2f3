"""How the queues of a lane are declared, by their type."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from aio_pika.abc import AbstractChannel

from shared.amqp.topology import (
    QUORUM_EXPIRES_MS,
    QueueType,
    declare_presence,
    health_queue,
    lane_queue,
    presence_key,
)
from shared.contracts import OPERATIONS
from shared.contracts.operation import Lane


@dataclass
class FakeChannel:
    """Remembers what was declared on it, and bound; it is its own queue."""

    declared: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    bound: list[tuple[str, str]] = field(default_factory=list)

    async def declare_queue(self, name: str, **arguments: Any) -> "FakeChannel":
        self.declared.append((name, arguments))
        return self

    async def bind(self, exchange: str, routing_key: str) -> None:
        self.bound.append((exchange, routing_key))


def test_no_name_is_used_for_two_types() -> None:
    """RabbitMQ would refuse the second one for as long as the first exists."""
    names = [
        make(lane, queue_type=queue_type).name
        for make in (lane_queue, health_queue)
        for lane in Lane
        for queue_type in QueueType
    ]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("queue_type", "arguments"),
    [
        (QueueType.CLASSIC, {"auto_delete": True, "arguments": {}}),
        (
            QueueType.QUORUM,
            {"auto_delete": False, "arguments": {"x-queue-type": "quorum", "x-expires": QUORUM_EXPIRES_MS}},
        ),
    ],
)
async def test_a_queue_goes_when_it_has_no_workers(queue_type: QueueType, arguments: dict[str, Any]) -> None:
    """At once, or after a while where there is no such thing."""
    channel = FakeChannel()
    await lane_queue(Lane.VERIFY, queue_type=queue_type).declare(cast(AbstractChannel, channel))
    assert channel.declared == [(lane_queue(Lane.VERIFY, queue_type=queue_type).name, {"durable": True, **arguments})]


@pytest.mark.parametrize("queue_type", QueueType)
async def test_a_queue_of_bounded_length_refuses(queue_type: QueueType) -> None:
    """What is beyond its length, whatever its type."""
    channel = FakeChannel()
    await lane_queue(Lane.PASSWORD, 7, queue_type).declare(cast(AbstractChannel, channel))
    ((_, declared),) = channel.declared
    assert declared["arguments"].items() >= {"x-max-length": 7, "x-overflow": "reject-publish"}.items()


async def test_a_worker_is_present_in_each_of_its_lanes() -> None:
    """Each time on a queue that goes with its connection and keeps nothing."""
    channel = FakeChannel()
    await declare_presence(cast(AbstractChannel, channel), OPERATIONS)
    assert channel.bound == [("probes", presence_key(lane)) for lane in sorted(Lane)]
    assert all(declared == {"exclusive": True, "arguments": {"x-message-ttl": 0}} for _, declared in channel.declared)
    assert len({name for name, _ in channel.declared}) == len(Lane)
