"""Generated messages to the workers: each is answered once, to its sender, or dropped.

Questions with known, different answers are sent among them, so that a reply to the wrong request is noticed. Messages
come from an edge, from a service through its own exchange, and from that service through an exchange that it has bound
into its own, where the broker checks no routing key.
"""

import asyncio
import base64
import json
import secrets
import struct
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aio_pika
import httpx
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractIncomingMessage
from aiormq.abc import AbstractChannel
from hypothesis import given, strategies as st
from pamqp.commands import Basic
from yarl import URL

from deploy import permissions
from shared.amqp.topology import (
    DEADLINE_HEADER,
    DIRECT_REPLY_TO,
    ERROR_TYPE,
    JSON_TYPE,
    REPLY_ADDRESS,
    REPLY_TYPE,
    RPC_EXCHANGE,
    service_exchange,
)
from shared.contracts import OPERATIONS
from shared.contracts.errors import ErrorCode, ErrorReply
from tests.backends import Backend
from tests.e2e.tenant import PASSWORD, Tenant
from tests.fuzz.conftest import bounded, tried
from tests.fuzz.raw_publisher import Refused, open_publisher
from tests.service import RunningService

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: Longer than a reply takes on a slow machine.
ANSWER_SECONDS = 20
#: Distances of deadlines that a worker rejects as too far, and accepts.
TOO_FAR_MS, AHEAD_MS = 3_600_000, 300_000
USERS = 8
#: A service, its exchange that an administrator declares, and one that the service binds into it.
SERVICE = "sender"
OWN, RELAY = service_exchange(SERVICE), f"sub.{SERVICE}.relay"
#: The earliest AMQP timestamp.
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - hypothesis requires bounds without a zone


@dataclass(frozen=True)
class Request:
    """A message to publish; `question` is the number of a question with a known answer."""

    exchange: str
    routing_key: str
    body: bytes
    properties: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, Any] = field(default_factory=dict)
    deadline: Any = None
    """The deadline header: `ahead`, `too far`, or a value."""
    question: int | None = None

    def is_answered(self) -> bool:
        """Return whether the sender gets a reply: at direct reply-to, also after its deadline."""
        routed = self.exchange != RELAY and self.routing_key in OPERATIONS
        return routed and self.properties.get("reply_to") == DIRECT_REPLY_TO

    def on_wire(self, correlation_id: str) -> Basic.Properties:
        """Return its properties, with the correlation id of its reply."""
        now = int(time.time() * 1000)
        deadline = {"ahead": now + AHEAD_MS, "too far": now + TOO_FAR_MS}.get(str(self.deadline), self.deadline)
        headers = self.headers if deadline is None else {**self.headers, DEADLINE_HEADER: deadline}
        return Basic.Properties(**self.properties, correlation_id=correlation_id, headers=headers or None)


class Sender:
    """Sends any message as an edge and as a service, and keeps the replies."""

    def __init__(self, edge: AbstractChannel, service: AbstractChannel, questions: Sequence[Request]) -> None:
        self._channels = {RPC_EXCHANGE: edge, OWN: service, RELAY: service}
        self.questions = questions
        self.answers: dict[str | None, list[AbstractIncomingMessage]] = {}
        self._arrived = asyncio.Event()

    async def accept(self, message: AbstractIncomingMessage) -> None:
        self.answers.setdefault(message.correlation_id, []).append(message)
        self._arrived.set()

    async def send(self, requests: dict[str, Request]) -> dict[str | None, list[AbstractIncomingMessage]]:
        """Send the requests and return all replies, once every request that gets a reply has one."""
        self.answers = {}
        for correlation_id, request in requests.items():
            properties = request.on_wire(correlation_id)
            await self._channels[request.exchange].basic_publish(
                request.body, exchange=request.exchange, routing_key=request.routing_key, properties=properties
            )
        waiting = {correlation_id for correlation_id, request in requests.items() if request.is_answered()}
        async with asyncio.timeout(ANSWER_SECONDS):
            while not waiting <= self.answers.keys():
                self._arrived.clear()
                await self._arrived.wait()
        return self.answers


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service_url(service: RunningService, backend: Backend) -> str:
    """The broker's URL of a user with a service's permissions, whose exchange has all operations."""
    async with await aio_pika.connect(service.amqp_url) as connection:
        channel = await connection.channel()
        rpc = await channel.get_exchange(RPC_EXCHANGE, ensure=False)
        own = await channel.declare_exchange(OWN, "topic", durable=True)
        for operation in OPERATIONS:
            await rpc.bind(own, operation)
    url, may, password = URL(service.amqp_url), permissions.service(SERVICE, "tenant"), secrets.token_urlsafe(16)
    vhost, user = url.path.removeprefix("/"), f"{SERVICE}-{uuid.uuid4().hex}"
    await backend.ctl(["add_user", user, password])
    await backend.ctl(["set_permissions", "-p", vhost, user, may.configure, may.write, may.read])
    return str(url.with_user(user).with_password(password))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sender(service: RunningService, service_url: str) -> AsyncIterator[Sender]:
    async with httpx.AsyncClient(base_url=service.urls[0], timeout=ANSWER_SECONDS) as http:
        tenant = await Tenant.register(http)
        for number in range(USERS):
            assert (await tenant.create(f"user-{number}")).is_success
    questions = [_which_user(tenant.token, number) for number in range(USERS)]
    questions += [_how_many(tenant.token, count) for count in range(1, 33)]
    async with await aio_pika.connect(service.amqp_url) as edge, await aio_pika.connect(service_url) as own:
        channels = [await connection.channel(publisher_confirms=True) for connection in (edge, own)]
        relay = await channels[1].declare_exchange(RELAY, "topic", auto_delete=True)
        await (await channels[1].get_exchange(OWN, ensure=False)).bind(relay, "#")
        underlay = [await channel.get_underlay_channel() for channel in channels]
        sender = Sender(underlay[0], underlay[1], questions)
        for channel in channels:
            replies = await channel.get_queue(DIRECT_REPLY_TO, ensure=False)
            await replies.consume(sender.accept, no_ack=True)
        yield sender


def _question(operation: str, question: int, **members: Any) -> Request:
    """Return a question, alternately of an edge and of a service."""
    exchange, body = (RPC_EXCHANGE, OWN)[question % 2], json.dumps(members).encode()
    properties = {"content_type": JSON_TYPE, "reply_to": DIRECT_REPLY_TO}
    return Request(exchange, operation, body, properties, question=question)


def _which_user(token: str, number: int) -> Request:
    return _question("user.list", number, tenantToken=token, q=f"user-{number}")


def _how_many(token: str, count: int) -> Request:
    return _question("auth.verify", count, checks=[{"tenantToken": token, "token": "none"}] * count)


def _is_answer(request: Request, reply: dict[str, Any]) -> bool:
    """Return whether this reply answers the question."""
    if request.routing_key == "user.list":
        return [user["login"] for user in reply["users"]] == [f"user-{request.question}"]
    return len(reply["answers"]) == request.question


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None, categories=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
plausible = st.sampled_from(
    ["ann", PASSWORD, "ann@users.test", "0", "x" * 300, "a" * 21_000, "é", "\0", "a.b.c", "let-me-in-please"]
)


@st.composite
def bodies(draw: st.DrawFn, operation: str) -> bytes:
    """Draw bytes, JSON, or mostly members of the operation."""
    kind = draw(st.sampled_from(["bytes", "json", "members", "members", "members", "large"]))
    if kind == "bytes":
        return draw(st.binary(max_size=200))
    if kind == "large":
        return b'{"token": "%s"}' % (b"a" * draw(st.sampled_from([130_000, 131_072, 200_000])))
    value = draw(anything)
    if kind == "members":
        names = [each.alias or name for name, each in OPERATIONS[operation].request.model_fields.items()]
        value = draw(st.fixed_dictionaries({}, optional=dict.fromkeys(names, plausible | anything)))
    return json.dumps(value).encode()


short_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
# RabbitMQ closes the channel for numbers that are not finite.
header_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=20).map(bytearray) | short_text
    | st.floats(allow_nan=False, allow_infinity=False, width=32) | st.datetimes(EPOCH, timezones=st.just(UTC)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(short_text, inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
# A plausible address makes RabbitMQ close the connection for its sender's replies, and replies would be missing;
# another test covers these.
made_up_addresses = short_text.map("amq.rabbitmq.reply-to.".__add__).filter(
    lambda address: not REPLY_ADDRESS.fullmatch(address)
)
properties = st.fixed_dictionaries(
    {
        "content_type": st.sampled_from([JSON_TYPE, JSON_TYPE, JSON_TYPE, "text/plain", None]) | short_text,
        "reply_to": st.sampled_from([DIRECT_REPLY_TO] * 4 + ["rpc.manage", "amq.rabbitmq.reply-to.", "", None])
        | made_up_addresses,
    },
    optional={
        "content_encoding": st.sampled_from(["gzip", "utf-8"]) | short_text,
        "delivery_mode": st.sampled_from([1, 2]),
        "priority": st.integers(0, 255),
        "message_id": short_text,
        "message_type": short_text,
        "app_id": short_text,
    },
)
deadlines = st.sampled_from([None, None, "ahead", "ahead", "too far", 0, -1, True, 2**62, 1.5, "soon"]) | header_values


@st.composite
def requests(draw: st.DrawFn) -> Request:
    operation = draw(st.sampled_from([*OPERATIONS, "no.operation", "#", ""]))
    body = draw(bodies(operation) if operation in OPERATIONS else st.binary())
    headers = draw(st.dictionaries(st.just("x-request-id") | short_text, header_values, max_size=3))
    exchange = draw(st.sampled_from([RPC_EXCHANGE, OWN, RELAY]))
    return Request(exchange, operation, body, draw(properties), headers, draw(deadlines))


@bounded(60)
@given(
    made_up=st.dictionaries(st.uuids(version=4).map(str) | short_text.filter(bool), requests(), min_size=1, max_size=8),
    question_numbers=st.lists(st.integers(0, USERS + 31), min_size=1, max_size=8),
)
@pytest.mark.usefixtures("unharmed")
async def test_any_message_is_answered_once_or_dropped(
    sender: Sender, made_up: dict[str, Request], question_numbers: list[int]
) -> None:
    """Each question gets its own answer."""
    tried["AMQP messages"] += len(made_up) + len(question_numbers)
    sent = made_up | {uuid.uuid4().hex: sender.questions[number] for number in question_numbers}
    answers = await sender.send(sent)

    assert answers.keys() == {correlation_id for correlation_id, request in sent.items() if request.is_answered()}
    for correlation_id, request in sent.items():
        for answer in answers.get(correlation_id, []):
            _check(request, answer)
        assert len(answers.get(correlation_id, [])) == request.is_answered()


def _check(request: Request, answer: AbstractIncomingMessage) -> None:
    assert answer.content_type == JSON_TYPE
    if answer.type == ERROR_TYPE:
        error = ErrorReply.model_validate_json(answer.body)
        assert error.code != ErrorCode.INTERNAL
        assert request.question is None
    else:
        assert answer.type == REPLY_TYPE
        OPERATIONS[request.routing_key].reply.model_validate_json(answer.body)
    if request.question is not None:
        assert _is_answer(request, json.loads(answer.body))


def _short(value: bytes) -> bytes:
    return bytes([len(value)]) + value


def _nested(depth: int) -> bytes:
    """Return lists nested to this depth."""
    value = b""
    for _ in range(depth):
        value = b"A" + struct.pack(">I", len(value)) + value
    return value


#: AMQP 0-9-1, 4.2.6.1: the flag of each property, from the first.
CONTENT_TYPE, HEADERS, CORRELATION_ID, REPLY_TO, MESSAGE_ID, TIMESTAMP = (1 << bit for bit in (15, 13, 10, 9, 7, 6))
not_utf8 = st.binary(max_size=60)
raw_values = st.one_of(
    st.binary(max_size=60).map(lambda text: b"S" + struct.pack(">I", len(text)) + text),
    st.binary(max_size=60).map(lambda data: b"x" + struct.pack(">I", len(data)) + data),
    st.integers(0, 2**64 - 1).map(lambda moment: b"T" + struct.pack(">Q", moment)),
    st.integers(0, 2**32 - 1).map(lambda number: b"D\xff" + struct.pack(">I", number)),
    st.sampled_from([1, 50, 3_000]).map(_nested),
    st.just(b"V"),
)
raw_tables = st.lists(st.tuples(not_utf8.map(_short), raw_values), max_size=3).map(
    lambda rows: b"".join(name + value for name, value in rows)
)
raw_properties = st.one_of(
    st.tuples(st.sampled_from([CONTENT_TYPE, CORRELATION_ID, REPLY_TO, MESSAGE_ID]), not_utf8.map(_short)),
    st.tuples(st.just(HEADERS), raw_tables.map(lambda table: struct.pack(">I", len(table)) + table)),
    st.tuples(st.just(TIMESTAMP), st.integers(0, 2**64 - 1).map(lambda moment: struct.pack(">Q", moment))),
)


@bounded(40)
@given(messages=st.lists(raw_properties, min_size=1, max_size=6), number=st.integers(0, USERS - 1))
async def test_properties_of_raw_bytes_disconnect_no_other_caller(
    sender: Sender, unharmed: RunningService, messages: list[tuple[int, bytes]], number: int
) -> None:
    """The properties contain text that is not UTF-8, times out of range, and deep nesting."""
    tried["AMQP messages in raw bytes"] += len(messages)
    async with open_publisher(unharmed.amqp_url) as publisher:
        for flags, encoded in messages:
            try:
                await publisher.publish(RPC_EXCHANGE, "user.list", flags, encoded, b"{}")
            except Refused:
                break
    answers = await sender.send({"after": sender.questions[number]})
    assert [_is_answer(sender.questions[number], json.loads(answer.body)) for answer in answers["after"]] == [True]
    lost = [line for line in unharmed.logs().splitlines() if "is lost" in line and f"to {SERVICE}" not in line]
    assert lost == []


addresses = st.one_of(
    st.from_regex(REPLY_ADDRESS, fullmatch=True).filter(lambda address: len(address) < 256),
    # A process id in Erlang's format, at a node of any name.
    st.tuples(st.text("abz@.0129", min_size=1, max_size=40), st.binary(min_size=12, max_size=12)).map(
        lambda made: (
            "amq.rabbitmq.reply-to."
            + base64.b64encode(b"\x83Xw" + _short(made[0].encode()) + made[1]).decode()
            + ".abc"
        )
    ),
)


@bounded(20)
@given(
    forged=st.lists(st.tuples(addresses, st.sampled_from([OWN, RELAY])), min_size=1, max_size=8),
    question_numbers=st.lists(st.integers(0, (USERS + 31) // 2), min_size=1, max_size=8),
)
@pytest.mark.usefixtures("unharmed")
async def test_forged_reply_addresses_of_a_service_lose_no_reply_of_an_edge(
    sender: Sender, forged: list[tuple[str, str]], question_numbers: list[int]
) -> None:
    tried["forged addresses"] += len(forged)
    made_up = [
        Request(exchange, "user.list", b"{}", {"content_type": JSON_TYPE, "reply_to": address})
        for address, exchange in forged
    ]
    questions = [
        sender.questions[number] for number in question_numbers if sender.questions[number].exchange == RPC_EXCHANGE
    ]
    sent = {uuid.uuid4().hex: request for request in [*made_up, *questions]}
    answers = await sender.send(sent)
    assert answers.keys() == {each for each, request in sent.items() if request.question is not None}
    for correlation_id, (answer,) in answers.items():
        _check(sent[str(correlation_id)], answer)
