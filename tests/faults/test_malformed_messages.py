"""Messages that no client sends."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aio_pika
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractIncomingMessage

from tests.faults.profile import note
from tests.faults.stack import Crashable, Stack, running_stack
from tests.faults.transports import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="module")

DIRECT = "amq.rabbitmq.reply-to"
JSON = "application/json"
#: Looks like a direct reply-to address, of a node that does not exist.
MADE_UP = f"{DIRECT}.g2dkABByYWJiaXRAbG9jYWxob3N0AAAAAAAAAAAAAAAA.abc"
#: A login of the first Jincor Auth: other members, and no tenant token.
OLD_CONTRACT = json.dumps({"login": "ann", "password": "secret secret", "deviceId": 7}).encode()

#: Routing key, body, properties and the code of the reply.
ANSWERED: dict[str, tuple[str, bytes, dict[str, Any], str]] = {
    "garbage": ("auth.logout", b"\xff\x00garbage", {}, "bad_request"),
    "empty": ("auth.logout", b"", {}, "bad_request"),
    "no object": ("auth.logout", b"[[[]]]", {}, "invalid_request"),
    "deep": ("auth.logout", b"[" * 50_000, {}, "bad_request"),
    "number": ("auth.logout", b"1e999999", {}, "invalid_request"),
    "16 MB": ("auth.logout", b" " * 16_000_000, {}, "bad_request"),
    "16 MB for the password lane": ("auth.login", b" " * 16_000_000, {}, "bad_request"),
    "no content type": ("auth.logout", b"{}", {"content_type": None}, "bad_request"),
    "other content type": ("auth.logout", b"{}", {"content_type": "application/x-python-pickle"}, "bad_request"),
    "invalid deadline": ("auth.logout", b"{}", {"headers": {"x-deadline-ms": "soon"}}, "bad_request"),
    "deadline in a year": ("auth.logout", b"{}", {"headers": {"x-deadline-ms": 2**53}}, "bad_request"),
    "invalid request id": ("auth.logout", b"{}", {"headers": {"x-request-id": {"a": [1]}}}, "invalid_request"),
    "old contract": ("auth.login", OLD_CONTRACT, {}, "invalid_request"),
}
#: Messages that cannot be answered.
DROPPED: dict[str, dict[str, Any]] = {
    "past the exchange": {"key": "rpc.manage", "reply_to": DIRECT},
    "past the exchange, to the password lane": {"key": "rpc.password", "reply_to": DIRECT},
    "no reply address": {},
    "own queue as reply address": {"reply_to": "rpc.manage"},
    "another service's queue as reply address": {"reply_to": "audit"},
    "pseudo-queue without an address": {"reply_to": f"{DIRECT}."},
    "made-up address": {"reply_to": MADE_UP},
    "deadline that has passed": {"reply_to": MADE_UP, "headers": {"x-deadline-ms": 1}},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(crashable: Crashable, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("poison"), crashable, workers=1) as running:
        yield running


async def test_malformed_messages_are_answered_or_dropped_once(stack: Stack) -> None:
    """Other callers lose at most replies that are on the wire, and every worker stays alive."""
    pids = {name: process.pid for name, process in stack.service.processes.items()}
    async with stack.load() as load, _Sender.connected(stack.node.amqp_url) as sender:
        for name, (key, body, properties, code) in ANSWERED.items():
            await sender.send(name, key, body, **{"reply_to": DIRECT, **properties})
            assert await sender.answer(name) == code, name
        started = time.monotonic()
        for name, properties in DROPPED.items():
            await sender.send(name, **{"key": "auth.logout", "body": b"{}", **properties})
        await load.acknowledged(50, "http")
        recovered = time.monotonic() - started
    assert {name: process.pid for name, process in stack.service.processes.items()} == pids
    assert all(process.running for process in stack.service.processes.values())
    await _until_queues_empty(stack)
    logged = [json.loads(line) for line in stack.service.logs().splitlines() if line]
    requests = [line for line in logged if line["event"] == "request" and "operation" in line]
    assert not any(line["redelivered"] for line in requests)
    codes = [line["code"] for line in requests]
    assert codes.count("bad_request") >= sum(code == "bad_request" for *_, code in ANSWERED.values())
    note(f"{len(ANSWERED)} answered, {len(DROPPED)} dropped, 50 calls beside them within {recovered:.1f} s")
    await stack.audit(load, "poison")


class _Sender:
    """Publishes messages and receives their replies."""

    def __init__(self, channel: aio_pika.abc.AbstractChannel) -> None:
        self._channel = channel
        self._codes: dict[str, asyncio.Future[str]] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, amqp_url: str) -> AsyncIterator["_Sender"]:
        async with await aio_pika.connect(amqp_url) as connection:
            channel = await connection.channel()
            sender = cls(channel)
            replies = await channel.get_queue(DIRECT, ensure=False)
            await replies.consume(sender._on_reply, no_ack=True)
            yield sender

    async def send(self, name: str, key: str, body: bytes, **properties: Any) -> None:
        self._codes[name] = asyncio.get_running_loop().create_future()
        message = aio_pika.Message(body, correlation_id=name, **{"content_type": JSON, **properties})
        # No queue is bound to a queue's name: the default exchange delivers to it.
        exchange = self._channel.default_exchange if key.startswith("rpc.") else await self._rpc()
        await exchange.publish(message, key)

    async def answer(self, name: str) -> str:
        return await asyncio.wait_for(self._codes[name], PATIENCE_SECONDS)

    async def _rpc(self) -> aio_pika.abc.AbstractExchange:
        return await self._channel.get_exchange("rpc", ensure=False)

    async def _on_reply(self, message: AbstractIncomingMessage) -> None:
        self._codes[message.correlation_id or ""].set_result(json.loads(message.body)["code"])


async def _until_queues_empty(stack: Stack) -> None:
    """Wait until no request queue holds a message, delivered or not."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            lines = (await stack.node.ctl("list_queues", "name", "messages")).split("\n")
            if not any(line.startswith("rpc.") and line.split()[1] != "0" for line in lines):
                return
