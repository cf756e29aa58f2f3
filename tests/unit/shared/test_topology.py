"""Declaration of the lane queues, by queue type."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from aio_pika.abc import AbstractChannel

from shared.amqp.topology import (
    LANE_MAX_BYTES,
    LANE_MAX_LENGTH,
    MESSAGE_TTL_MS,
    QUORUM_EXPIRES_MS,
    QueueType,
    health_queue,
    lane_queue,
)
from shared.contracts import OPERATIONS
from shared.contracts.operation import Lane


@dataclass
class FakeChannel:
    """Fake channel that records declarations and bindings. It also stands for the declared queue."""

    declared: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    bound: list[tuple[str, str]] = field(default_factory=list)

    async def declare_queue(self, name: str, **arguments: Any) -> "FakeChannel":
        self.declared.append((name, arguments))
        return self

    async def bind(self, exchange: str, routing_key: str) -> None:
        self.bound.append((exchange, routing_key))


def test_queue_name_differs_between_queue_types() -> None:
    """RabbitMQ refuses to declare an existing queue with another type."""
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
async def test_queue_without_workers_is_deleted_or_expires(queue_type: QueueType, arguments: dict[str, Any]) -> None:
    """Quorum queues cannot be auto-delete, so they expire."""
    channel, queue = FakeChannel(), lane_queue(Lane.VERIFY, queue_type=queue_type)
    await queue.declare(cast(AbstractChannel, channel))
    ((name, declared),) = channel.declared
    assert (name, declared["durable"], declared["auto_delete"]) == (queue.name, True, arguments["auto_delete"])
    assert declared["arguments"].items() >= arguments["arguments"].items()


@pytest.mark.parametrize("queue_type", QueueType)
@pytest.mark.parametrize("lane", Lane)
async def test_queue_has_limits_on_length_bytes_and_message_age(lane: Lane, queue_type: QueueType) -> None:
    """The broker refuses requests over the limits and drops those older than any caller waits."""
    limits = {
        "x-max-length-bytes": LANE_MAX_BYTES,
        "x-overflow": "reject-publish",
        "x-message-ttl": MESSAGE_TTL_MS,
    }
    for queue, length in (
        (lane_queue(lane, queue_type=queue_type), LANE_MAX_LENGTH),
        (lane_queue(lane, 7, queue_type), 7),
        (health_queue(lane, queue_type), LANE_MAX_LENGTH),
    ):
        channel = FakeChannel()
        await queue.declare(cast(AbstractChannel, channel))
        ((_, declared),) = channel.declared
        assert declared["arguments"].items() >= {**limits, "x-max-length": length}.items()


def test_largest_request_fits_into_a_lane() -> None:
    """Otherwise the broker would always refuse it, as if the queue were full."""
    assert max(operation.max_body_bytes for operation in OPERATIONS.values()) <= LANE_MAX_BYTES
