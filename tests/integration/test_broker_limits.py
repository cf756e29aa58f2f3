"""The broker limits of a service's user, on a real node with the definitions of deploy/."""

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aio_pika
import pytest
import pytest_asyncio
from aio_pika import DeliveryMode
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import AMQPError, DeliveryError
from aiormq.exceptions import ChannelPreconditionFailed, ConnectionNotAllowed
from pamqp.common import FieldTable
from yarl import URL

from deploy.definitions import (
    SUBSCRIBER_EXPIRES_MS,
    SUBSCRIBER_MAX_BYTES,
    SUBSCRIBER_MAX_LENGTH,
)
from dev.processes import REPOSITORY
from shared.amqp.topology import LANE_MAX_LENGTH, MESSAGE_TTL_MS, declare_exchanges, lane_queue
from shared.contracts import OPERATIONS
from shared.contracts.operation import Lane
from tests.backends import Backend
from worker.amqp.replies import MAX_REPLY_BYTES

PATIENCE_SECONDS = 30
MAX_CONNECTIONS, MAX_CHANNELS = 3, 4
MIB = 1024 * 1024
SETTINGS = dict(
    line.split(" = ")
    for line in (REPOSITORY / "deploy/rabbitmq/rabbitmq.conf").read_text().splitlines()
    if line.startswith(("max_message_size", "frame_max"))
)
CONFIGURED, FRAME_MAX = int(SETTINGS["max_message_size"]), int(SETTINGS["frame_max"])


@dataclass(frozen=True)
class Limited:
    """A virtual host with a service's user as `python -m deploy service` creates it."""

    backend: Backend
    admin: str
    url: str
    name: str
    definitions: dict[str, Any]
    directory: Path

    @property
    def vhost(self) -> str:
        return URL(self.admin).path[1:]

    async def import_definitions(self, definitions: dict[str, Any]) -> None:
        path = self.directory / f"{uuid.uuid4().hex}.json"
        path.write_text(json.dumps(definitions))
        await self.backend.ctl(["import_definitions", str(path)])

    async def effective_policy(self, queue: str) -> str:
        """Return the policy that the node applies to a queue, as Erlang prints it."""
        name = f'rabbit_misc:r(<<"{self.vhost}">>, queue, <<"{queue}">>)'
        lookup = f"{{ok, Q}} = rabbit_amqqueue:lookup({name})"
        return await self.backend.ctl(["eval", f"{lookup}, rabbit_policy:effective_definition(Q)."])

    async def bytes_in(self, queue: str) -> int:
        listed = json.loads(
            await self.backend.ctl(
                ["list_queues", "-p", self.vhost, "name", "message_bytes_persistent", "--formatter", "json"]
            )
        )
        return int(next(each["message_bytes_persistent"] for each in listed if each["name"] == queue))


@pytest_asyncio.fixture
async def limited(backend: Backend, tmp_path: Path) -> Limited:
    if backend.kind != "local":
        pytest.skip("imports a file, which a container does not see")
    admin = await backend.vhost()
    name = f"shop-{uuid.uuid4().hex[:8]}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy", "service", name, "--tenant", "1", "--vhost", URL(admin).path[1:]),
        *("--max-connections", str(MAX_CONNECTIONS), "--max-channels", str(MAX_CHANNELS)),
        cwd=REPOSITORY,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate(b"secret\n")
    assert process.returncode == 0
    url = str(URL(admin).with_user(name).with_password("secret"))
    made = Limited(backend, admin, url, name, json.loads(printed), tmp_path)
    await made.import_definitions(made.definitions)
    return made


@pytest_asyncio.fixture
async def connection(limited: Limited) -> AsyncIterator[AbstractConnection]:
    async with await aio_pika.connect(limited.url) as connection:
        yield connection


async def own_queue(
    channel: AbstractChannel, name: str, kind: str, arguments: FieldTable | None = None
) -> AbstractExchange:
    """Declare a queue and an exchange of the service's own, and bind the queue to the exchange."""
    await channel.declare_queue(name, durable=True, arguments={"x-queue-type": kind, **(arguments or {})})
    exchange = await channel.declare_exchange(name, "fanout", durable=True)
    await (await channel.get_queue(name, ensure=False)).bind(exchange)
    return exchange


async def test_connections_of_a_service_beyond_the_limit_are_refused(limited: Limited) -> None:
    """A closed connection makes room for another."""
    connections = [await aio_pika.connect(limited.url) for _ in range(MAX_CONNECTIONS)]
    try:
        with pytest.raises(AMQPError):
            await aio_pika.connect(limited.url)
        await connections.pop().close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(connections) < MAX_CONNECTIONS:
                try:
                    connections.append(await aio_pika.connect(limited.url))
                except AMQPError:  # the node still counts the closed connection
                    await asyncio.sleep(0.05)
    finally:
        for each in connections:
            await each.close()


async def test_channels_of_a_service_beyond_the_limit_are_refused(limited: Limited) -> None:
    """Channels of all its connections count."""
    connections = [await aio_pika.connect(limited.url) for _ in range(2)]
    for number in range(MAX_CHANNELS):
        await connections[number % 2].channel()
    with pytest.raises(ConnectionNotAllowed, match=f"maximum allowed user limit of \\({MAX_CHANNELS}\\)"):
        await connections[0].channel()
    await connections[1].close()


async def test_message_larger_than_configured_is_refused_and_the_largest_request_passes(
    limited: Limited, connection: AbstractConnection
) -> None:
    largest = max(MAX_REPLY_BYTES, *(operation.max_body_bytes for operation in OPERATIONS.values()))
    assert largest <= CONFIGURED
    assert f"max_message_size = {CONFIGURED}\n" in (REPOSITORY / "deploy/kubernetes/base/rabbitmq.yaml").read_text()
    channel = await connection.channel()
    exchange = await channel.declare_exchange(f"sub.{limited.name}.sink", "fanout", auto_delete=True)
    await exchange.publish(aio_pika.Message(bytes(largest)), "", mandatory=False)
    with pytest.raises(ChannelPreconditionFailed, match="larger than configured max size"):
        await exchange.publish(aio_pika.Message(bytes(CONFIGURED + 1)), "", mandatory=False)


async def test_headers_larger_than_a_frame_close_the_senders_connection(
    limited: Limited, connection: AbstractConnection
) -> None:
    """The node would decode larger headers into a hundredfold of memory."""
    assert f"frame_max = {FRAME_MAX}\n" in (REPOSITORY / "deploy/kubernetes/base/rabbitmq.yaml").read_text()
    channel = await connection.channel()
    exchange = await channel.declare_exchange(f"sub.{limited.name}.sink", "fanout", auto_delete=True)
    await exchange.publish(aio_pika.Message(b"", headers={"a": (FRAME_MAX - 200) * "x"}), "", mandatory=False)
    with pytest.raises(AMQPError):
        await exchange.publish(aio_pika.Message(b"", headers={"a": FRAME_MAX * "x"}), "", mandatory=False)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [("classic", {}), ("classic", {"x-max-length-bytes": 10 * SUBSCRIBER_MAX_BYTES}), ("quorum", {})],
    ids=["classic", "classic with a higher limit of its own", "quorum"],
)
async def test_own_queue_of_a_service_is_limited_in_bytes(
    limited: Limited, connection: AbstractConnection, kind: str, arguments: FieldTable
) -> None:
    """A queue that rejects when full refuses messages, like the client's durable queues; another one
    drops the oldest.
    """
    name = f"sub.{limited.name}.full"
    channel = await connection.channel()
    refuses = {"x-overflow": "reject-publish"} if kind == "quorum" else {}
    exchange = await own_queue(channel, name, kind, {**arguments, **refuses})
    message = aio_pika.Message(bytes(MIB), delivery_mode=DeliveryMode.PERSISTENT)
    refused = 0
    for _ in range(SUBSCRIBER_MAX_BYTES // MIB + 8):
        try:
            await exchange.publish(message, "")
        except DeliveryError:
            refused += 1
    if kind == "classic":
        assert 0 < await limited.bytes_in(name) <= SUBSCRIBER_MAX_BYTES
    else:
        assert refused > 0
    await channel.queue_delete(name)


@pytest.mark.parametrize("kind", ["classic", "quorum"])
async def test_own_queue_without_consumers_expires(limited: Limited, connection: AbstractConnection, kind: str) -> None:
    """The policy applies also to a queue that asks for a longer time. The test shortens the time."""
    name = f"sub.{limited.name}.forgotten"
    channel = await connection.channel()
    await own_queue(channel, name, kind, {"x-expires": 2 * SUBSCRIBER_EXPIRES_MS})
    applied = await limited.effective_policy(name)
    for key, value in (
        ("expires", SUBSCRIBER_EXPIRES_MS),
        ("max-length", SUBSCRIBER_MAX_LENGTH),
        ("max-length-bytes", SUBSCRIBER_MAX_BYTES),
    ):
        assert f'<<"{key}">> => {value}' in applied or f'{{<<"{key}">>,{value}}}' in applied
    shortened = json.loads(json.dumps(limited.definitions))
    for parameter in shortened["parameters"]:
        if "expires" in parameter["value"]["definition"]:
            parameter["value"]["definition"]["expires"] = 500
    await limited.import_definitions(shortened)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while name in await limited.backend.ctl(["list_queues", "-p", limited.vhost, "name"]):  # noqa: ASYNC110 - the broker has no event for it
            await asyncio.sleep(0.1)


async def test_own_stream_of_a_service_is_limited_in_bytes(limited: Limited, connection: AbstractConnection) -> None:
    """Streams have no expiry and no limit of messages."""
    name = f"sub.{limited.name}.stream"
    await own_queue(await connection.channel(), name, "stream")
    applied = await limited.effective_policy(name)
    assert str(SUBSCRIBER_MAX_BYTES) in applied
    assert "expires" not in applied


async def test_lane_queue_of_an_older_worker_is_limited_by_the_policy(limited: Limited) -> None:
    """The stricter length of policy and arguments applies."""
    async with await aio_pika.connect(limited.admin) as connection:
        channel = await connection.channel()
        await declare_exchanges(channel)
        unlimited = await channel.declare_queue("rpc.manage", durable=True)
        exchange = await channel.declare_exchange("fill", "fanout")
        await unlimited.bind(exchange)
        refused = 0
        for _ in range(LANE_MAX_LENGTH + 5):
            try:
                await exchange.publish(aio_pika.Message(b"{}"), "")
            except DeliveryError:
                refused += 1
        # RabbitMQ refuses shortly after the queue is full.
        assert 0 < refused <= 5
        assert str(MESSAGE_TTL_MS) in await limited.effective_policy("rpc.manage")
        short = lane_queue(Lane.PASSWORD, 3)
        for _ in range(2):
            await short.declare(channel)  # a policy changes no arguments, so the second declaration matches
        await (await channel.get_queue(short.name)).bind(exchange)
        await unlimited.delete(if_unused=False, if_empty=False)
        taken = 0
        for _ in range(10):
            try:
                await exchange.publish(aio_pika.Message(b"{}"), "")
            except DeliveryError:
                continue
            taken += 1
        assert 3 <= taken < 10
