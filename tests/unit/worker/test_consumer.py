"""The consumer: each message is answered if possible, acknowledged once, and never stops the worker."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from aio_pika.abc import AbstractConnection
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
from worker.amqp.consumer import Consumer, Consumption
from worker.amqp.deadlines import LOG_PAUSE_SECONDS, MAX_DEADLINE_MS, MAX_LATE_CALLERS
from worker.amqp.delivery import Delivery
from worker.amqp.replies import Outcome, Replies
from worker.domain.call import Call
from worker.domain.deadline import RESERVE_SECONDS, Deadline, request_deadline
from worker.domain.ports import Ports
from worker.domain.tokens import note_acting
from worker.metrics import WorkerMetrics
from worker.operations import HANDLERS, Handler

#: A failed verification, which is always logged.
UNKNOWN_TOKEN = b'{"checks": [{"tenantToken": "sesame", "token": "sesame"}]}'
HEALTH_VERIFY = HEALTH[Lane.VERIFY].name
REPLY_TO = "amq.rabbitmq.reply-to.g1h2AA5yZXBseUA1"
#: Request ids on both sides of a sampling rate of one half.
LOGGED, UNLOGGED = "r-2", "r-1"
NOW_MS = int(NOW.timestamp() * 1000)


@dataclass(frozen=True)
class Reply:
    """A published reply."""

    routing_key: str
    correlation_id: str | None
    type: str
    body: bytes

    @property
    def error(self) -> ErrorReply:
        assert self.type == "error"
        return ErrorReply.model_validate_json(self.body)


class FakeChannel:
    """The channel of a message; `lost` simulates a broken connection."""

    def __init__(self) -> None:
        self.settled: list[str] = []
        self.replies: list[Reply] = []
        self.waited_acks = 0
        self.lost = False

    async def basic_publish(
        self, body: bytes, *, routing_key: str, properties: Basic.Properties, mandatory: bool
    ) -> None:
        assert not mandatory  # the reply to a disconnected caller would be returned
        assert properties.content_type == "application/json"
        self.settled.append("reply")
        self.replies.append(Reply(routing_key, properties.correlation_id, properties.message_type or "", body))

    async def basic_ack(self, delivery_tag: int, *, wait: bool) -> None:
        if self.lost:
            raise ChannelInvalidStateError
        assert delivery_tag == 7
        self.waited_acks += wait
        self.settled.append("ack")


class FakeQueue:
    """A queue that delivers the messages of a test."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bound: list[str] = []
        self.cancelled: list[str] = []
        self.deliver: Callable[[DeliveredMessage], Awaitable[None]]

    async def bind(self, exchange: str, routing_key: str) -> None:
        assert exchange == "rpc"
        self.bound.append(routing_key)

    async def cancel(self, tag: str, timeout: float) -> None:  # noqa: ASYNC109 - aio-pika's own signature
        assert timeout
        self.cancelled.append(tag)


class FakeConnection:
    """A connection to a broker whose exchanges already exist."""

    def __init__(self) -> None:
        self.queues: dict[str, FakeQueue] = {}
        self.prefetches: list[int] = []

    async def channel(self, *, publisher_confirms: bool) -> "FakeConnection":
        assert not publisher_confirms
        return self

    async def set_qos(self, *, prefetch_count: int) -> None:
        self.prefetches.append(prefetch_count)

    async def declare_queue(self, name: str, **_: object) -> FakeQueue:
        return self.queues.setdefault(name, FakeQueue(name))

    async def get_underlay_channel(self) -> "FakeConnection":
        return self

    async def basic_consume(
        self, queue: str, callback: Callable[[DeliveredMessage], Awaitable[None]]
    ) -> Basic.ConsumeOk:
        self.queues[queue].deliver = callback
        return Basic.ConsumeOk("consumer-tag")


class FakeReplyPublisher:
    """Implements `ReplyPublisher` on a fake channel."""

    def __init__(self, channel: FakeChannel) -> None:
        self._channel = channel

    async def ready(self) -> None:
        pass

    async def publish(self, address: str, body: bytes, properties: Basic.Properties) -> None:
        await self._channel.basic_publish(body, routing_key=address, properties=properties, mandatory=False)

    async def __aenter__(self) -> object:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


class FakeReplies:
    """Implements `ReplySender`: replies go to a fake channel; `fail` is raised instead if it is set."""

    def __init__(self, channel: FakeChannel) -> None:
        self._replies = Replies([], "fake", connect=lambda *_: FakeReplyPublisher(channel))
        self.fail: Exception | None = None
        self.are_ready = asyncio.Event()
        self.are_ready.set()

    async def ready(self) -> None:
        await self.are_ready.wait()

    async def send(self, request: Delivery, outcome: Outcome) -> None:
        if self.fail:
            raise self.fail
        await self._replies.send(request, outcome)


class Broker:
    """A consumer of one lane and the messages delivered to it."""

    def __init__(self, handlers: Mapping[str, Handler] = HANDLERS, verify_sample: float = 1.0) -> None:
        self.channel = FakeChannel()
        self.connection = FakeConnection()
        self.replies = FakeReplies(self.channel)
        self.metrics = WorkerMetrics()
        self.seconds = 0.0
        self.consumer = Consumer(
            [Consumption(lane_queue(Lane.VERIFY), 16), Consumption(health_queue(Lane.VERIFY), 2)],
            handlers,
            ports(),
            self.replies,
            declare=False,
            clock=NOW.timestamp,
            monotonic=lambda: self.seconds,
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
        """Deliver a message, valid by default, and return when the consumer has taken it."""
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
        message = DeliveredMessage(
            delivery=Basic.Deliver("consumer-tag", 7, redelivered, exchange, operation),
            header=ContentHeader(properties=Basic.Properties(**given)),
            body=body,
            channel=cast(Any, self.channel),
        )
        await self.connection.queues[lane_queue(Lane.VERIFY).name].deliver(message)

    async def answer(self, body: bytes = b"{}", **message: Any) -> Reply:
        """Deliver a message and return its only reply, which is sent before the acknowledgement."""
        await self.deliver(body, **message)
        assert await self.consumer.drain(10)
        assert self.channel.settled == ["reply", "ack"]
        (reply,) = self.channel.replies
        return reply


def handler(function: Callable[[Call], Awaitable[HealthReply]]) -> Mapping[str, Handler]:
    """Return a table of operations with this function as the health check."""

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
    """A broker whose worker fails on any call."""
    return Broker(handler(never))


async def test_request_is_answered_and_then_acknowledged(broker: Broker) -> None:
    """The reply goes to the caller's address with the correlation id of the call."""
    reply = await broker.answer()
    assert (reply.routing_key, reply.correlation_id, reply.type) == (REPLY_TO, "call", "reply")
    assert json.loads(reply.body) == {"database": True}


@pytest.mark.parametrize(("exchange", "service"), [("rpc", None), ("calls.shop", "shop")])
async def test_exchange_identifies_the_sender_of_a_request(exchange: str, service: str | None) -> None:
    """The broker's permissions enforce this: edges publish to `rpc`, each service to its own exchange."""
    seen: list[str | None] = []

    async def record(call: Call) -> HealthReply:
        seen.append(call.service)
        return HealthReply(database=True)

    reply = await Broker(handler(record)).answer(exchange=exchange)
    assert (reply.type, seen) == ("reply", [service])


@pytest.mark.parametrize("exchange", ["", "sub.shop.mine", "calls.", "calls.shop.mine", "events"])
async def test_request_from_an_unknown_exchange_is_dropped(idle: Broker, exchange: str) -> None:
    """A service can bind exchanges of any name to its own, so such a name does not identify the sender."""
    await idle.deliver(exchange=exchange)
    assert await idle.consumer.drain(10)
    assert idle.channel.settled == ["ack"]


async def test_dead_lettered_request_is_dropped(idle: Broker) -> None:
    """It carries the name of a service's exchange, but the broker has not checked its routing key."""
    await idle.deliver(exchange="calls.shop", headers={"x-death": [{"queue": "sub.shop.mine", "count": 1}]})
    assert await idle.consumer.drain(10)
    assert idle.channel.settled == ["ack"]


async def test_setup_takes_no_request_until_replies_can_be_sent(broker: Broker) -> None:
    """Replies would be dropped, and their callers would wait until their deadlines."""
    broker.replies.are_ready.clear()
    setup = asyncio.create_task(broker.consumer.setup(cast(AbstractConnection, broker.connection)))
    for _ in range(10):
        await asyncio.sleep(0)
    assert broker.connection.queues == {}
    broker.replies.are_ready.set()
    assert len(await setup) == 2
    assert len(broker.connection.queues) == 2


async def test_queue_is_consumed_with_its_own_prefetch(broker: Broker) -> None:
    await broker.answer()
    assert broker.connection.prefetches == [16, 2]
    assert list(broker.connection.queues)[:2] == ["rpc.verify", "rpc.verify.health"]


async def test_expected_error_is_answered_and_acknowledged() -> None:

    async def refuse(_call: Call) -> HealthReply:
        raise LoginTaken

    reply = await Broker(handler(refuse)).answer()
    assert reply.error == LoginTaken().to_reply()


async def test_unexpected_exception_is_answered_with_an_incident_that_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The reply contains nothing else about the exception."""

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
async def test_malformed_message_is_answered_bad_request(idle: Broker, message: dict[str, Any], complaint: str) -> None:
    """It is acknowledged, because a redelivery would be malformed, too."""
    error = (await idle.answer(**message)).error
    assert error.code == ErrorCode.BAD_REQUEST
    assert complaint in error.message


@pytest.mark.parametrize("operation", ["tenant.conquer", ""])
async def test_unknown_operation_is_answered_unavailable(idle: Broker, operation: str) -> None:
    """A newer worker of the lane may know the operation, and a retry may reach that worker."""
    error = (await idle.answer(operation=operation)).error
    assert (error.code, error.retry_after_seconds) == (ErrorCode.UNAVAILABLE, 1)


async def test_request_with_invalid_fields_lists_each_without_its_value(broker: Broker) -> None:
    body = json.dumps({"login": "", "password": 1234567890, "deviceId": {"secret": "sesame"}}).encode()
    reply = await broker.answer(body, operation="auth.login")
    assert reply.error.code == ErrorCode.INVALID_REQUEST
    assert {problem.field for problem in reply.error.problems} == {"tenantToken", "login", "password", "deviceId"}
    assert FieldProblem(field="tenantToken", message="Field required") in reply.error.problems
    assert b"1234567890" not in reply.body
    assert b"sesame" not in reply.body


@pytest.mark.parametrize("body", [b"null", b"[]", b'"text"', b"1"])
async def test_body_that_is_no_json_object_is_answered_invalid_request(idle: Broker, body: bytes) -> None:
    error = (await idle.answer(body)).error
    assert error.code == ErrorCode.INVALID_REQUEST
    assert [problem.field for problem in error.problems] == ["(whole)"]


@pytest.mark.parametrize("reply_to", [None, "", "rpc.password", "amq.rabbitmq.reply-to", "xamq.rabbitmq.reply-to.x"])
async def test_request_with_another_reply_address_is_dropped(idle: Broker, reply_to: str | None) -> None:
    """The operation does not run, and the message is acknowledged."""
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
async def test_redelivered_request_past_its_deadline_is_dropped(idle: Broker, message: dict[str, Any]) -> None:
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


async def test_late_requests_of_several_callers_are_logged_with_the_caller_once_a_minute_each(
    idle: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise one caller's late requests would hide the wrong clock of another."""
    await deliver_late(idle, "calls.shop", "rpc", "calls.shop", "calls.bank", "rpc")
    assert callers_of_late_requests(caplog) == ["shop", "an edge", "bank"]
    idle.seconds += LOG_PAUSE_SECONDS
    await deliver_late(idle, "calls.bank", "calls.bank", "rpc")
    assert callers_of_late_requests(caplog) == ["shop", "an edge", "bank", "bank", "an edge"]


async def test_late_requests_of_many_callers_are_logged_in_bounded_memory(
    idle: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """An administrator may create and delete any number of services."""
    names = [f"service-{number}" for number in range(MAX_LATE_CALLERS + 1)]
    await deliver_late(idle, *(f"calls.{name}" for name in (*names, names[-1], names[1])))
    assert callers_of_late_requests(caplog) == names
    await deliver_late(idle, f"calls.{names[0]}")
    assert callers_of_late_requests(caplog)[-1] == names[0], "the caller that was logged longest ago is forgotten"


async def deliver_late(broker: Broker, *exchanges: str) -> None:
    for exchange in exchanges:
        await broker.deliver(exchange=exchange, headers={DEADLINE_HEADER: NOW_MS - 30_000})
    assert await broker.consumer.drain(10)


def callers_of_late_requests(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.__dict__["caller"] for record in caplog.records if "after its deadline" in record.getMessage()]


@pytest.mark.parametrize("redelivered", [False, True])
async def test_request_within_its_deadline_is_answered(broker: Broker, *, redelivered: bool) -> None:
    """This includes redelivered requests."""
    reply = await broker.answer(headers={DEADLINE_HEADER: NOW_MS}, redelivered=redelivered)
    assert reply.type == "reply"


async def test_call_carries_its_deadline_in_event_loop_time() -> None:
    """This clock never jumps."""
    seen: list[Call] = []

    async def look(call: Call) -> HealthReply:
        seen.append(call)
        return HealthReply(database=True)

    await Broker(handler(look)).answer()
    await Broker(handler(look)).answer(headers={DEADLINE_HEADER: NOW_MS + 1500})
    assert seen[0].expires_at is None
    assert seen[1].expires_at is not None
    assert abs(seen[1].expires_at - asyncio.get_running_loop().time() - 1.5) < 1


async def test_request_with_only_the_reserve_left_is_refused_before_anything_is_done(broker: Broker) -> None:
    """It waited in the queue, and would probably be answered too late."""
    left_ms = int(1000 * RESERVE_SECONDS) - 50
    reply = await broker.answer(headers={DEADLINE_HEADER: NOW_MS + left_ms}, expiration="5000")
    assert reply.error.code == ErrorCode.OVERLOADED
    assert reply.error.retry_after_seconds


@pytest.mark.parametrize(
    "delivery",
    [
        {"headers": {DEADLINE_HEADER: NOW_MS + 450}, "expiration": "5000", "redelivered": True},
        {"headers": {DEADLINE_HEADER: NOW_MS + 450}, "expiration": "600"},
        {"headers": {DEADLINE_HEADER: NOW_MS + 450}},
    ],
    ids=["redelivered", "short timeout", "unknown timeout"],
)
async def test_request_with_little_time_left_is_handled(broker: Broker, delivery: dict[str, Any]) -> None:
    """A redelivered request may have been done in part, and a caller with a short timeout has a smaller reserve."""
    assert (await broker.answer(**delivery)).type == "reply"


async def test_operation_runs_with_the_deadline_of_its_request() -> None:
    """The adapter of the database reads it."""
    seen: list[Deadline | None] = []

    async def look(_: Call) -> HealthReply:
        seen.append(request_deadline.get())
        return HealthReply(database=True)

    await Broker(handler(look)).answer(headers={DEADLINE_HEADER: NOW_MS + 5000}, expiration="5000")
    await Broker(handler(look)).answer()
    assert seen[0] is not None
    assert abs(seen[0].left_seconds(asyncio.get_running_loop().time()) - 5) < 1
    assert seen[0].reserve_seconds == RESERVE_SECONDS
    assert seen[1] is None


async def test_request_that_expires_in_the_operation_is_not_answered() -> None:
    """It is acknowledged and counted as late."""

    async def wait(_: Call) -> HealthReply:
        raise DeadlineExceeded

    broker = Broker(handler(wait))
    await broker.deliver()
    assert await broker.consumer.drain(10)
    assert broker.channel.settled == ["ack"]
    late = {"operation": HEALTH_VERIFY, "code": "late"}
    assert broker.metrics.registry.get_sample_value("jincor_auth_worker_requests_total", late) == 1


async def test_call_carries_the_message_id_or_a_new_one() -> None:
    seen = []

    async def record(call: Call) -> HealthReply:
        seen.append(call.message_id)
        return HealthReply(database=True)

    for message_id in ("message", None, None):
        await Broker(handler(record)).answer(message_id=message_id)
    assert seen[0] == "message"
    assert all(seen)
    assert len(set(seen)) == 3


@pytest.mark.parametrize(
    ("header", "expected"), [("abc-123", "abc-123"), (None, None), (7, None), ("x" * 129, None), ("a\nb", None)]
)
async def test_log_lines_of_a_request_carry_its_valid_request_id(header: object, expected: str | None) -> None:
    """Long or non-printable ids are ignored."""
    seen: list[str | None] = []

    async def record(_call: Call) -> HealthReply:
        seen.append(request_id.get())
        return HealthReply(database=True)

    await Broker(handler(record)).answer(headers={REQUEST_ID_HEADER: header})
    assert seen == [expected]
    assert request_id.get() is None


@pytest.mark.parametrize(
    ("message", "operation", "code"),
    [
        ({"operation": "auth.verify", "body": UNKNOWN_TOKEN}, "auth.verify", "ok"),
        ({"operation": "drop table"}, "other", "unavailable"),
        ({"headers": {DEADLINE_HEADER: 0}}, HEALTH_VERIFY, "deadline_exceeded"),
        ({"headers": {DEADLINE_HEADER: 0}, "redelivered": True}, HEALTH_VERIFY, "late"),
    ],
)
async def test_request_leaves_one_log_line_with_operation_and_code(
    broker: Broker, caplog: pytest.LogCaptureFixture, message: dict[str, Any], operation: str, code: str
) -> None:
    """The line contains no name that a caller chose."""
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
async def test_successful_verification_is_logged_at_the_sampling_rate(
    caplog: pytest.LogCaptureFixture, sample: float, known: bool, lines: int
) -> None:
    """A batch with an invalid token is always logged. The line states the rate and the tenant."""
    caplog.set_level(logging.INFO)

    async def verify(_request: Any, _call: Call, _ports: Ports) -> AuthVerifyReply:
        note_acting("shop")
        good = VerifyAnswer(claims=some_claims())
        return AuthVerifyReply(answers=(good, good if known else VerifyAnswer.failed(InvalidToken())))

    broker = Broker({"auth.verify": verify}, verify_sample=sample)
    checks = [{"tenantToken": "sesame", "token": "sesame", "requestId": request} for request in (UNLOGGED, LOGGED)]
    await broker.answer(json.dumps({"checks": checks}).encode(), operation="auth.verify")
    logged = [vars(record) for record in caplog.records if record.getMessage() == "request"]
    assert len(logged) == lines
    for line in logged:
        assert line["tenant"] == "shop"
        assert line.get("sample") == (sample if known else None)


async def test_log_line_of_a_batch_names_all_its_tenants(caplog: pytest.LogCaptureFixture) -> None:
    """The tenants of one request do not appear on the next line."""
    caplog.set_level(logging.INFO)

    async def act(call: Call) -> HealthReply:
        for tenant in call.message_id.split("+") if call.message_id != "nobody" else ():
            note_acting(tenant)
        return HealthReply(database=False)  # a health check that succeeds is not logged

    broker = Broker(handler(act))
    for tenants in ("shop+bank", "shop", "nobody"):
        await broker.deliver(message_id=tenants)
        assert await broker.consumer.drain(10)
    logged = [vars(record) for record in caplog.records if record.getMessage() == "request"]
    assert [line.get("tenants", line.get("tenant")) for line in logged] == [["bank", "shop"], "shop", None]


async def test_log_line_of_a_batch_names_all_its_request_ids(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    """An operator finds the line by any of the coalesced requests. It contains no token."""
    caplog.set_level(logging.INFO)
    checks = [{"tenantToken": "sesame", "token": "sesame", "requestId": request} for request in ("one", "two", None)]
    await broker.answer(json.dumps({"checks": checks}).encode(), operation="auth.verify")
    (line,) = [vars(record) for record in caplog.records if record.getMessage() == "request"]
    assert (line["checks"], line["request_ids"]) == (3, ["one", "two"])
    assert "sesame" not in str(line)


class Held:
    """An operation that stays in flight until `let_go` is set."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.let_go = asyncio.Event()
        self.broker = Broker(handler(self._work))

    async def _work(self, _call: Call) -> HealthReply:
        self.begun.set()
        await self.let_go.wait()
        return HealthReply(database=True)


async def test_request_whose_connection_is_lost_is_still_answered(caplog: pytest.LogCaptureFixture) -> None:
    """Replies have their own connection. The failed acknowledgement, which causes a redelivery, is logged."""
    held = Held()
    await held.broker.deliver()
    await held.begun.wait()
    held.broker.channel.lost = True
    held.let_go.set()
    assert await held.broker.consumer.drain(10)
    assert held.broker.channel.settled == ["reply"]
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert ChannelInvalidStateError.__name__ in vars(warning)["error"]


@pytest.mark.parametrize("error", [ConnectionLost("fake"), RuntimeError("unexpected")])
async def test_request_whose_reply_is_lost_is_still_acknowledged(
    broker: Broker, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """A redelivery would lose its reply again, and an unacknowledged message would block the prefetch."""
    broker.replies.fail = error
    await broker.deliver()
    assert await broker.consumer.drain(10)
    assert broker.channel.settled == ["ack"]
    assert "reply is lost" in caplog.text


async def test_redelivered_request_of_a_non_repeatable_operation_is_unavailable(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How far the first worker came is unknown. All present operations are repeatable."""
    monkeypatch.setitem(OPERATIONS, HEALTH_VERIFY, replace(OPERATIONS[HEALTH_VERIFY], repeatable=False))
    reply = await broker.answer(redelivered=True, headers={DEADLINE_HEADER: NOW_MS + 1})
    assert reply.error.code is ErrorCode.UNAVAILABLE


async def test_body_over_the_limit_is_refused_without_parsing(idle: Broker) -> None:
    """The limit is that of the operation."""
    reply = await idle.answer(b" " * (MAX_BODY_BYTES + 1))
    assert reply.error.code is ErrorCode.BAD_REQUEST
    assert str(MAX_BODY_BYTES) in reply.error.message


async def test_reply_to_many_invalid_checks_stays_small(broker: Broker) -> None:
    """It reports only the first of them."""
    reply = await broker.answer(b'{"checks": [' + b"{}," * 200_000 + b"{}]}", operation="auth.verify")
    assert reply.error.code is ErrorCode.INVALID_REQUEST
    assert len(reply.body) < 1_000


async def test_draining_consumer_does_not_consume_after_a_reconnect() -> None:
    broker = Broker()
    assert await broker.consumer.drain(10)
    assert await broker.consumer.setup(cast(AbstractConnection, broker.connection)) == []
    assert broker.connection.queues == {}


async def test_drain_cancels_consumers_and_finishes_requests_in_flight() -> None:
    held = Held()
    await held.broker.deliver()
    await held.begun.wait()
    draining = asyncio.create_task(held.broker.consumer.drain(10))
    consumed = [queue for queue in held.broker.connection.queues.values() if hasattr(queue, "deliver")]
    while not all(queue.cancelled for queue in consumed):  # noqa: ASYNC110 - two iterations
        await asyncio.sleep(0)
    assert held.broker.channel.settled == []
    held.let_go.set()
    assert await draining
    assert held.broker.channel.settled == ["reply", "ack"]


async def test_drain_returns_false_after_the_grace_period() -> None:
    """It reports that a request is still in flight."""
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
        ({"headers": {DEADLINE_HEADER: NOW_MS + 6_000}, "expiration": "5000"}, 0.0),  # the sender's clock is ahead
        ({"headers": {DEADLINE_HEADER: NOW_MS + 4_000}}, None),
        ({"expiration": "5000"}, None),
        ({"headers": {DEADLINE_HEADER: "soon"}, "expiration": "5000"}, None),
        ({"headers": {DEADLINE_HEADER: NOW_MS}, "expiration": "86400000"}, None),
        ({"headers": {DEADLINE_HEADER: NOW_MS + 4_000}, "expiration": "5000", "redelivered": True}, None),
    ],
)
async def test_queue_wait_is_measured_from_deadline_and_expiration(
    message: dict[str, Any], seconds: float | None
) -> None:
    """The send time is the deadline minus the expiration. A request without both is not measured."""
    broker = Broker()
    await broker.deliver(**message)
    assert await broker.consumer.drain(10)
    samples = [
        broker.metrics.registry.get_sample_value(
            f"jincor_auth_worker_queue_wait_seconds_{part}", {"operation": HEALTH_VERIFY}
        )
        for part in ("count", "sum")
    ]
    assert samples == ([0, 0] if seconds is None else [1, pytest.approx(seconds)])


async def test_request_is_counted_by_operation_and_code(broker: Broker) -> None:
    """Names chosen by a caller never become a label."""
    for operation in (HEALTH_VERIFY, HEALTH_VERIFY, "drop table"):
        await broker.deliver(operation=operation)
    assert await broker.consumer.drain(10)
    for operation, code, number in ((HEALTH_VERIFY, "ok", 2), ("other", "unavailable", 1), ("drop table", "", None)):
        labels = {"operation": operation, "code": code}
        assert broker.metrics.registry.get_sample_value("jincor_auth_worker_requests_total", labels) == number
