"""What becomes of a message: it is answered if it can be, settled once, and never takes the worker with it."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self, cast

import pytest
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage
from aio_pika.message import IncomingMessage
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelInvalidStateError
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from shared.amqp.connection import ConnectionLost
from shared.amqp.topology import DEADLINE_HEADER, REQUEST_ID_HEADER, health_queue, lane_queue
from shared.contracts import OPERATIONS
from shared.contracts.auth_verify import AuthVerifyReply, VerifyAnswer
from shared.contracts.errors import (
    DeadlineExceeded,
    ErrorCode,
    ErrorReply,
    FieldProblem,
    InvalidToken,
    LoginTaken,
)
from shared.contracts.health import HEALTH, HealthReply
from shared.contracts.operation import MAX_BODY_BYTES, Lane
from shared.process.logging import request_id
from tests.fakes import NOW, ports
from tests.records import some_claims
from worker.amqp.consumer import MAX_DEADLINE_MS, Consumer, Consumption
from worker.amqp.replies import Outcome, Replies, ReplyConnection
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.tokens import note_acting
from worker.metrics import WorkerMetrics
from worker.operations import HANDLERS, Handler

HEALTH_VERIFY = HEALTH[Lane.VERIFY].name
REPLY_TO = "amq.rabbitmq.reply-to.g1h2AA5yZXBseUA1"
#: Request ids of which every other one is logged, and these are one and the other.
LOGGED, UNLOGGED = "r-2", "r-1"
NOW_MS = int(NOW.timestamp() * 1000)


@dataclass(frozen=True)
class Reply:
    """What was published in answer to a message."""

    routing_key: str
    correlation_id: str | None
    type: str
    body: bytes

    @property
    def error(self) -> ErrorReply:
        assert self.type == "error"
        return ErrorReply.model_validate_json(self.body)


class FakeChannel:
    """The channel a message came by. `lost` makes it what a channel is after its connection broke."""

    def __init__(self) -> None:
        self.settled: list[str] = []
        self.replies: list[Reply] = []
        self.lost = False

    @property
    def is_closed(self) -> bool:
        return self.lost

    async def basic_publish(
        self, body: bytes, *, routing_key: str, properties: Basic.Properties, mandatory: bool
    ) -> None:
        assert not mandatory  # a caller that is gone would come back as a returned message
        assert properties.content_type == "application/json"
        self.settled.append("reply")
        self.replies.append(Reply(routing_key, properties.correlation_id, properties.message_type or "", body))

    async def basic_ack(self, delivery_tag: int, *, multiple: bool) -> None:
        assert (delivery_tag, multiple) == (7, False)
        self.settled.append("ack")


class FakeQueue:
    """A queue that hands over what a test puts into it."""

    def __init__(self) -> None:
        self.bound: list[str] = []
        self.cancelled: list[str] = []
        self.deliver: Callable[[AbstractIncomingMessage], Awaitable[None]]

    async def bind(self, exchange: str, routing_key: str) -> None:
        assert exchange == "rpc"
        self.bound.append(routing_key)

    async def consume(self, callback: Callable[[AbstractIncomingMessage], Awaitable[None]]) -> str:
        self.deliver = callback
        return "consumer-tag"

    async def cancel(self, tag: str, timeout: float) -> None:  # noqa: ASYNC109 - aio-pika's own signature
        assert timeout
        self.cancelled.append(tag)


class FakeConnection:
    """A connection whose exchanges were declared by an administrator."""

    def __init__(self) -> None:
        self.queues: dict[str, FakeQueue] = {}
        self.prefetches: list[int] = []

    async def channel(self, *, publisher_confirms: bool) -> "FakeConnection":
        assert not publisher_confirms
        return self

    async def set_qos(self, *, prefetch_count: int) -> None:
        self.prefetches.append(prefetch_count)

    async def declare_queue(self, name: str, **_: object) -> FakeQueue:
        return self.queues.setdefault(name, FakeQueue())


class FakeReplyConnection(ReplyConnection):
    """Open, on a fake channel."""

    def __init__(self, channel: FakeChannel) -> None:
        super().__init__([], "fake", None)
        self._channel = cast(Any, channel)

    async def __aenter__(self) -> Self:
        return self


class FakeReplies(Replies):
    """Replies that go out on a fake channel, but for the error that they `fail` with."""

    def __init__(self, channel: FakeChannel) -> None:
        super().__init__([], "fake", connect=lambda *_: FakeReplyConnection(channel))
        self.fail: Exception | None = None

    async def send(self, request: AbstractIncomingMessage, outcome: Outcome) -> None:
        if self.fail:
            raise self.fail
        await super().send(request, outcome)


class Broker:
    """A consumer of one lane, and the messages that it is given."""

    def __init__(self, handlers: Mapping[str, Handler] = HANDLERS, verify_sample: float = 1.0) -> None:
        self.channel = FakeChannel()
        self.connection = FakeConnection()
        self.replies = FakeReplies(self.channel)
        self.metrics = WorkerMetrics()
        self.consumer = Consumer(
            [Consumption(lane_queue(Lane.VERIFY), 16), Consumption(health_queue(Lane.VERIFY), 2)],
            handlers,
            ports(),
            self.replies,
            declare=False,
            clock=NOW.timestamp,
            metrics=self.metrics,
            verify_sample=verify_sample,
        )

    async def deliver(
        self,
        body: bytes = b"{}",
        *,
        operation: str = HEALTH_VERIFY,
        exchange: str = "rpc",
        redelivered: bool = False,
        headers: dict[str, Any] | None = None,
        **properties: Any,
    ) -> None:
        """Hands over a message, a good one unless told otherwise, and returns when the consumer has taken it."""
        if not self.connection.queues:
            await self.consumer.setup(cast(AbstractConnection, self.connection))
        given = {
            "content_type": "application/json",
            "correlation_id": "call",
            "message_id": "message",
            "reply_to": REPLY_TO,
            "headers": headers or {},
            **properties,
        }
        message = IncomingMessage(
            DeliveredMessage(
                delivery=Basic.Deliver("consumer-tag", 7, redelivered, exchange, operation),
                header=ContentHeader(properties=Basic.Properties(**given)),
                body=body,
                channel=cast(Any, self.channel),
            )
        )
        await self.connection.queues[lane_queue(Lane.VERIFY).name].deliver(message)

    async def answer(self, body: bytes = b"{}", **message: Any) -> Reply:
        """The one reply to a message, which has been acknowledged after it."""
        await self.deliver(body, **message)
        assert await self.consumer.drain(10)
        assert self.channel.settled == ["reply", "ack"]
        (reply,) = self.channel.replies
        return reply


def handler(function: Callable[[Call], Awaitable[HealthReply]]) -> Mapping[str, Handler]:
    """A table of operations with this one in the place of a health check."""

    async def handle(_request: Any, call: Call, _: Ports) -> HealthReply:
        return await function(call)

    return {HEALTH_VERIFY: handle}


async def never(_call: Call) -> HealthReply:
    raise AssertionError("must not be called")


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def idle() -> Broker:
    """A broker whose worker has nothing to do: it fails when it is given something."""
    return Broker(handler(never))


async def test_a_request_is_answered_and_acknowledged(broker: Broker) -> None:
    """The reply goes to the caller's address under the id of its call; the message is settled after it."""
    reply = await broker.answer()
    assert (reply.routing_key, reply.correlation_id, reply.type) == (REPLY_TO, "call", "reply")
    assert json.loads(reply.body) == {"database": True}


@pytest.mark.parametrize(("exchange", "service"), [("rpc", None), ("calls.shop", "shop")])
async def test_the_exchange_tells_who_sent_a_request(exchange: str, service: str | None) -> None:
    """The broker lets nobody choose it: an edge publishes to `rpc`, a service to the exchange of its name."""
    seen: list[str | None] = []

    async def note(call: Call) -> HealthReply:
        seen.append(call.service)
        return HealthReply(database=True)

    reply = await Broker(handler(note)).answer(exchange=exchange)
    assert (reply.type, seen) == ("reply", [service])


@pytest.mark.parametrize("exchange", ["", "sub.shop.mine", "calls.", "calls.shop.mine", "events"])
async def test_a_request_by_an_exchange_that_somebody_made_is_dropped(idle: Broker, exchange: str) -> None:
    """A service can bind exchanges under any name into its own, so such a name says nothing about who sent it."""
    await idle.deliver(exchange=exchange)
    assert await idle.consumer.drain(10)
    assert idle.channel.settled == ["ack"]


async def test_a_request_that_was_dead_lettered_is_dropped(idle: Broker) -> None:
    """It names the exchange of a service, but the broker has not checked its routing key."""
    await idle.deliver(exchange="calls.shop", headers={"x-death": [{"queue": "sub.shop.mine", "count": 1}]})
    assert await idle.consumer.drain(10)
    assert idle.channel.settled == ["ack"]


async def test_each_queue_has_its_prefetch(broker: Broker) -> None:
    """As many requests of each queue are held as it was told."""
    await broker.answer()
    assert broker.connection.prefetches == [16, 2]
    assert list(broker.connection.queues)[:2] == ["rpc.verify", "rpc.verify.health"]


async def test_an_expected_error_is_a_reply() -> None:
    """What an operation refuses is answered as what it is, and acknowledged."""

    async def refuse(_call: Call) -> HealthReply:
        raise LoginTaken

    reply = await Broker(handler(refuse)).answer()
    assert reply.error == LoginTaken().to_reply()


async def test_a_fault_is_an_incident(caplog: pytest.LogCaptureFixture) -> None:
    """A fault is answered with an incident and nothing of what happened; the log tells the rest under it."""

    async def fail(_call: Call) -> HealthReply:
        raise ZeroDivisionError("with a secret in it")

    error = (await Broker(handler(fail)).answer()).error
    assert (error.code, error.message) == (ErrorCode.INTERNAL, "internal error")
    (logged,) = [record for record in caplog.records if record.exc_info]
    assert error.incident
    assert vars(logged)["incident"] == error.incident
    assert logged.exc_info is not None
    assert logged.exc_info[0] is ZeroDivisionError


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ({"content_type": "text/plain"}, "content_type must be application/json"),
        ({"content_type": None}, "content_type must be application/json"),
        ({"body": b""}, "body must be JSON"),
        ({"body": b"{"}, "body must be JSON"),
        ({"body": b"\xff"}, "body must be JSON"),
        ({"body": b'{"a": "\\ud800"}'}, "body must be JSON"),
        ({"body": b"[" * 100_000}, "body must be JSON"),
        ({"headers": {DEADLINE_HEADER: "soon"}}, f"header {DEADLINE_HEADER} must be milliseconds"),
        (
            {"headers": {DEADLINE_HEADER: NOW_MS + MAX_DEADLINE_MS + 1}},
            f"header {DEADLINE_HEADER} must be milliseconds",
        ),
        ({"headers": {DEADLINE_HEADER: 1.5}}, f"header {DEADLINE_HEADER} must be milliseconds"),
    ],
    ids=lambda value: str(value)[:50],
)
async def test_a_malformed_message_is_a_bad_request(idle: Broker, message: dict[str, Any], complaint: str) -> None:
    """What is not a request of this service is answered as such, and acknowledged: it will never be better."""
    error = (await idle.answer(**message)).error
    assert error.code == ErrorCode.BAD_REQUEST
    assert complaint in error.message


@pytest.mark.parametrize("operation", ["tenant.conquer", ""])
async def test_an_operation_of_a_newer_version_is_unavailable(idle: Broker, operation: str) -> None:
    """A newer worker of the lane has bound it. The caller is not wrong, and may find that worker the next time."""
    error = (await idle.answer(operation=operation)).error
    assert (error.code, error.retry_after_seconds) == (ErrorCode.UNAVAILABLE, 1)


async def test_invalid_fields_are_all_named_without_their_values(broker: Broker) -> None:
    """Each bad field of a request is named with what was expected, and nothing of what was in it."""
    body = json.dumps({"login": "", "password": 1234567890, "deviceId": {"secret": "sesame"}}).encode()
    reply = await broker.answer(body, operation="auth.login")
    assert reply.error.code == ErrorCode.INVALID_REQUEST
    assert {problem.field for problem in reply.error.problems} == {"tenantToken", "login", "password", "deviceId"}
    assert FieldProblem(field="tenantToken", message="Field required") in reply.error.problems
    assert b"1234567890" not in reply.body
    assert b"sesame" not in reply.body


@pytest.mark.parametrize("body", [b"null", b"[]", b'"text"', b"1"])
async def test_json_that_is_no_object(idle: Broker, body: bytes) -> None:
    """JSON of another shape is an invalid request as a whole."""
    error = (await idle.answer(body)).error
    assert error.code == ErrorCode.INVALID_REQUEST
    assert [problem.field for problem in error.problems] == ["(whole)"]


@pytest.mark.parametrize("reply_to", [None, "", "rpc.password", "amq.rabbitmq.reply-to", "xamq.rabbitmq.reply-to.x"])
async def test_an_address_that_is_not_direct_reply_to(idle: Broker, reply_to: str | None) -> None:
    """A message that wants its answer elsewhere gets none and does nothing; it is acknowledged."""
    await idle.deliver(reply_to=reply_to)
    assert await idle.consumer.drain(10)
    assert idle.channel.settled == ["ack"]


@pytest.mark.parametrize(
    "message",
    [
        {"headers": {DEADLINE_HEADER: NOW_MS - 1}, "redelivered": True},
        {"redelivered": True},
    ],
    ids=str,
)
async def test_a_redelivered_request_past_its_deadline_is_not_begun_and_not_answered(
    idle: Broker, message: dict[str, Any]
) -> None:
    await idle.deliver(**message)
    assert await idle.consumer.drain(10)
    assert idle.channel.settled == ["ack"]


@pytest.mark.parametrize(("late_ms", "seconds"), [(1, 1), (30_000, 30), (NOW_MS, NOW_MS // 1000)])
async def test_a_request_past_its_deadline_at_its_first_delivery_is_answered_with_the_difference_of_the_clocks(
    idle: Broker, caplog: pytest.LogCaptureFixture, late_ms: int, seconds: int
) -> None:
    """The broker drops requests that expire in a queue, so a caller that still waits has another clock."""
    for _ in range(2):
        await idle.deliver(headers={DEADLINE_HEADER: NOW_MS - late_ms})
    assert await idle.consumer.drain(10)
    for reply in idle.channel.replies:
        assert (reply.error.code, reply.error.details) == (ErrorCode.DEADLINE_EXCEEDED, {"lateSeconds": seconds})
        assert f"arrived {seconds} s after its deadline, so the clocks" in reply.error.message
    assert len(idle.channel.replies) == 2
    warned = [each for each in caplog.messages if each.startswith(f"request arrived {seconds} s after its deadline")]
    assert len(warned) == (1 if seconds > 1 else 0)


@pytest.mark.parametrize("redelivered", [False, True])
async def test_a_request_in_time_is_done(broker: Broker, *, redelivered: bool) -> None:
    """Up to its deadline a request is done, also one that a lost connection brought back."""
    reply = await broker.answer(headers={DEADLINE_HEADER: NOW_MS}, redelivered=redelivered)
    assert reply.type == "reply"


async def test_a_request_tells_for_how_long_it_is_waited_for() -> None:
    """In the time of the event loop, which does not jump."""
    seen: list[Call] = []

    async def look(call: Call) -> HealthReply:
        seen.append(call)
        return HealthReply(database=True)

    await Broker(handler(look)).answer()
    await Broker(handler(look)).answer(headers={DEADLINE_HEADER: NOW_MS + 1500})
    assert seen[0].expires_at is None
    assert seen[1].expires_at is not None
    assert abs(seen[1].expires_at - asyncio.get_running_loop().time() - 1.5) < 1


async def test_a_request_that_waits_past_its_deadline_is_not_answered() -> None:
    """Nobody waits for it: it is acknowledged, and counted as late."""

    async def wait(_: Call) -> HealthReply:
        raise DeadlineExceeded

    broker = Broker(handler(wait))
    await broker.deliver()
    assert await broker.consumer.drain(10)
    assert broker.channel.settled == ["ack"]
    late = {"operation": HEALTH_VERIFY, "code": "late"}
    assert broker.metrics.registry.get_sample_value("jincor_auth_worker_requests_total", late) == 1


async def test_a_request_keeps_its_message_id() -> None:
    """The operation is told the id of the message, or one of its own when it came without."""
    seen = []

    async def note(call: Call) -> HealthReply:
        seen.append(call.message_id)
        return HealthReply(database=True)

    for message_id in ("message", None, None):
        await Broker(handler(note)).answer(message_id=message_id)
    assert seen[0] == "message"
    assert all(seen)
    assert len(set(seen)) == 3


@pytest.mark.parametrize(
    ("header", "expected"), [("abc-123", "abc-123"), (None, None), (7, None), ("x" * 129, None), ("a\nb", None)]
)
async def test_a_request_is_logged_under_its_id(header: object, expected: str | None) -> None:
    """Whatever is logged while a request is worked on carries the id that it came with, if it is short and plain."""
    seen: list[str | None] = []

    async def note(_call: Call) -> HealthReply:
        seen.append(request_id.get())
        return HealthReply(database=True)

    await Broker(handler(note)).answer(headers={REQUEST_ID_HEADER: header})
    assert seen == [expected]
    assert request_id.get() is None


@pytest.mark.parametrize(
    ("message", "operation", "code"),
    [
        ({}, HEALTH_VERIFY, "ok"),
        ({"operation": "drop table"}, "other", "unavailable"),
        ({"headers": {DEADLINE_HEADER: 0}}, HEALTH_VERIFY, "deadline_exceeded"),
        ({"headers": {DEADLINE_HEADER: 0}, "redelivered": True}, HEALTH_VERIFY, "late"),
    ],
)
async def test_each_request_is_one_line_in_the_log(
    broker: Broker, caplog: pytest.LogCaptureFixture, message: dict[str, Any], operation: str, code: str
) -> None:
    """The line tells the operation and how it ended; no name that a caller made up gets in."""
    caplog.set_level(logging.INFO)
    await broker.deliver(**message)
    assert await broker.consumer.drain(10)
    (line,) = [vars(record) for record in caplog.records if record.getMessage() == "request"]
    assert (line["operation"], line["code"]) == (operation, code)
    assert line["redelivered"] is message.get("redelivered", False)
    assert line["duration_ms"] >= 0


@pytest.mark.parametrize(
    ("sample", "known", "lines"),
    [(0.0, True, 0), (1.0, True, 1), (0.0, False, 1), (0.5, True, 1)],
)
async def test_of_verifications_that_succeed_a_share_is_logged(
    caplog: pytest.LogCaptureFixture, sample: float, known: bool, lines: int
) -> None:
    """The line tells the share and whose they were; a batch with a bad token in it is logged in any case."""
    caplog.set_level(logging.INFO)

    async def verify(_request: Any, _call: Call, _ports: Ports) -> AuthVerifyReply:
        note_acting("shop")
        good = VerifyAnswer(claims=some_claims())
        return AuthVerifyReply(answers=(good, good if known else VerifyAnswer.failed(InvalidToken())))

    broker = Broker({"auth.verify": verify}, verify_sample=sample)
    checks = [{"tenantToken": "sesame", "token": "sesame", "requestId": request} for request in (UNLOGGED, LOGGED)]
    await broker.answer(json.dumps({"checks": checks}).encode(), operation="auth.verify")
    told = [vars(record) for record in caplog.records if record.getMessage() == "request"]
    assert len(told) == lines
    for line in told:
        assert line["tenant"] == "shop"
        assert line.get("sample") == (sample if known else None)


async def test_a_batch_of_several_tenants_names_all_of_them(caplog: pytest.LogCaptureFixture) -> None:
    """And one request's tenant is not on the line of the next."""
    caplog.set_level(logging.INFO)

    async def act(call: Call) -> HealthReply:
        for tenant in call.message_id.split("+") if call.message_id != "nobody" else ():
            note_acting(tenant)
        return HealthReply(database=True)

    broker = Broker(handler(act))
    for tenants in ("shop+bank", "shop", "nobody"):
        await broker.deliver(message_id=tenants)
        assert await broker.consumer.drain(10)
    told = [vars(record) for record in caplog.records if record.getMessage() == "request"]
    assert [line.get("tenants", line.get("tenant")) for line in told] == [["bank", "shop"], "shop", None]


async def test_a_batch_is_logged_under_all_its_ids(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever looks for one of the requests that travelled together finds the line, which holds no token."""
    caplog.set_level(logging.INFO)
    checks = [{"tenantToken": "sesame", "token": "sesame", "requestId": request} for request in ("one", "two", None)]
    await broker.answer(json.dumps({"checks": checks}).encode(), operation="auth.verify")
    (line,) = [vars(record) for record in caplog.records if record.getMessage() == "request"]
    assert (line["checks"], line["request_ids"]) == (3, ["one", "two"])
    assert "sesame" not in str(line)


class Held:
    """An operation that is under way until it is let go."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.let_go = asyncio.Event()
        self.broker = Broker(handler(self._work))

    async def _work(self, _call: Call) -> HealthReply:
        self.begun.set()
        await self.let_go.wait()
        return HealthReply(database=True)


async def test_a_request_whose_connection_is_lost_is_answered_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """The reply has a connection of its own; that the request cannot be acknowledged, and comes back, is logged."""
    held = Held()
    await held.broker.deliver()
    await held.begun.wait()
    held.broker.channel.lost = True
    held.let_go.set()
    assert await held.broker.consumer.drain(10)
    assert held.broker.channel.settled == ["reply"]
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert ChannelInvalidStateError.__name__ in vars(warning)["error"]


@pytest.mark.parametrize("error", [ConnectionLost("fake"), RuntimeError("what nobody thought of")])
async def test_a_request_whose_reply_is_lost_is_acknowledged_all_the_same(
    broker: Broker, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """Delivered again, it could only lose its reply again; and not settled, it would keep its place for ever."""
    broker.replies.fail = error
    await broker.deliver()
    assert await broker.consumer.drain(10)
    assert broker.channel.settled == ["ack"]
    assert "reply is lost" in caplog.text


async def test_what_is_not_safe_to_repeat_is_not_repeated(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """All operations are, at present. Of another one nobody would know how far the first worker came."""
    monkeypatch.setitem(OPERATIONS, HEALTH_VERIFY, replace(OPERATIONS[HEALTH_VERIFY], repeatable=False))
    reply = await broker.answer(redelivered=True, headers={DEADLINE_HEADER: NOW_MS + 1})
    assert reply.error.code is ErrorCode.UNAVAILABLE


async def test_a_body_beyond_the_limit_is_refused_unread(idle: Broker) -> None:
    """The limit is that of the operation."""
    reply = await idle.answer(b" " * (MAX_BODY_BYTES + 1))
    assert reply.error.code is ErrorCode.BAD_REQUEST
    assert str(MAX_BODY_BYTES) in reply.error.message


async def test_a_reply_to_many_bad_fields_stays_small(broker: Broker) -> None:
    """The first bad check is told, and the other two hundred thousand are not."""
    reply = await broker.answer(b'{"checks": [' + b"{}," * 200_000 + b"{}]}", operation="auth.verify")
    assert reply.error.code is ErrorCode.INVALID_REQUEST
    assert len(reply.body) < 1_000


async def test_a_consumer_that_drains_consumes_nothing_more() -> None:
    """Also when its connection is lost and comes back meanwhile."""
    broker = Broker()
    assert await broker.consumer.drain(10)
    assert await broker.consumer.setup(cast(AbstractConnection, broker.connection)) == []
    assert broker.connection.queues == {}


async def test_drain_finishes_what_is_at_hand() -> None:
    """Draining stops every consumer first, and returns when the requests at hand are answered."""
    held = Held()
    await held.broker.deliver()
    await held.begun.wait()
    draining = asyncio.create_task(held.broker.consumer.drain(10))
    consumed = [queue for queue in held.broker.connection.queues.values() if hasattr(queue, "deliver")]
    while not all(queue.cancelled for queue in consumed):  # noqa: ASYNC110 - two turns
        await asyncio.sleep(0)
    assert held.broker.channel.settled == []
    held.let_go.set()
    assert await draining
    assert held.broker.channel.settled == ["reply", "ack"]


async def test_drain_does_not_wait_for_ever() -> None:
    """When the grace is over, draining says that something is not finished."""
    held = Held()
    await held.broker.deliver()
    await held.begun.wait()
    assert not await held.broker.consumer.drain(0.01)
    held.let_go.set()
    assert await held.broker.consumer.drain(10)


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ({"headers": {DEADLINE_HEADER: NOW_MS + 4_000}, "expiration": "5000"}, 1.0),
        ({"headers": {DEADLINE_HEADER: NOW_MS + 6_000}, "expiration": "5000"}, 0.0),  # a sender's clock is ahead
        ({"headers": {DEADLINE_HEADER: NOW_MS + 4_000}}, None),
        ({"expiration": "5000"}, None),
        ({"headers": {DEADLINE_HEADER: "soon"}, "expiration": "5000"}, None),
        ({"headers": {DEADLINE_HEADER: NOW_MS}, "expiration": "86400000"}, None),
        ({"headers": {DEADLINE_HEADER: NOW_MS + 4_000}, "expiration": "5000", "redelivered": True}, None),
    ],
)
async def test_how_long_a_request_has_waited(message: dict[str, Any], seconds: float | None) -> None:
    """Its deadline less the time that it was given is when it was sent. What does not tell both is not guessed at."""
    broker = Broker()
    await broker.deliver(**message)
    assert await broker.consumer.drain(10)
    told = [
        broker.metrics.registry.get_sample_value(
            f"jincor_auth_worker_queue_wait_seconds_{part}", {"operation": HEALTH_VERIFY}
        )
        for part in ("count", "sum")
    ]
    assert told == ([0, 0] if seconds is None else [1, pytest.approx(seconds)])


async def test_each_request_is_counted(broker: Broker) -> None:
    """Under its operation and its answer; a name that a caller made up is no label."""
    for operation in (HEALTH_VERIFY, HEALTH_VERIFY, "drop table"):
        await broker.deliver(operation=operation)
    assert await broker.consumer.drain(10)
    for operation, code, number in ((HEALTH_VERIFY, "ok", 2), ("other", "unavailable", 1), ("drop table", "", None)):
        labels = {"operation": operation, "code": code}
        assert broker.metrics.registry.get_sample_value("jincor_auth_worker_requests_total", labels) == number
