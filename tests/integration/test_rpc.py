"""RPC calls over a real broker."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import aio_pika
import pytest

from shared.amqp.connection import Connection
from shared.amqp.pending_replies import ALARM_CHECK_SECONDS
from shared.amqp.recent_nacks import STUCK_SECONDS
from shared.amqp.rpc_client import RpcClient
from shared.amqp.telemetry import MAX_TRACE_HEADER_CHARS, TRACE_HEADERS, ForwardedHeaders
from shared.amqp.topology import RPC_EXCHANGE, LaneQueue, QueueType, service_exchange
from shared.amqp.verification_batcher import VerificationBatcher
from shared.contracts.auth_login import AUTH_LOGIN, AuthLoginReply, AuthLoginRequest
from shared.contracts.auth_verify import (
    AUTH_VERIFY,
    AuthVerifyReply,
    AuthVerifyRequest,
    VerifyAnswer,
    VerifyCheck,
)
from shared.contracts.claims import Claims
from shared.contracts.errors import (
    OVERLOADED_RETRY_SECONDS,
    BadRequest,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    Overloaded,
    Unavailable,
    UserNotFound,
)
from shared.contracts.operation import Done
from shared.contracts.user_delete import USER_DELETE, UserDeleteRequest
from shared.contracts.wire import MAX_TOKEN_CHARS, WireModel
from tests.fakes import ports
from tests.integration.conftest import Serve
from tests.integration.proxy import Proxy
from worker.amqp.consumer import Consumer, Consumption
from worker.amqp.replies import Replies
from worker.amqp.unreadable import MAX_PROPERTIES_BYTES
from worker.domain.call import Call
from worker.domain.ports import Ports

#: Addresses that look like direct reply-to: of a node that does not exist, in the formats of two
#: RabbitMQ versions, and one that is malformed.
MADE_UP = (
    "amq.rabbitmq.reply-to.g1h2AAtyZXBseUAxMjM0NQAAAAEAAAAAAAAAAA==.abc",
    "amq.rabbitmq.reply-to.g2dkABByYWJiaXRAbG9jYWxob3N0AAAAAAAAAAAAAAAA.abc",
    "amq.rabbitmq.reply-to.abc.abc",
)
LOGIN = AuthLoginRequest(tenant_token="t", login="somebody", password="password", device_id="d")
REQUEST = UserDeleteRequest(tenant_token="t", login="somebody")


class Gate:
    """A handler that waits until it is opened, and records its calls."""

    def __init__(self, reply: WireModel | None = None) -> None:
        self.reply = reply or Done.now()
        self.arrived = asyncio.Queue[Call]()
        self.opened = asyncio.Event()

    async def __call__(self, _request: WireModel, call: Call, _ports: Ports) -> WireModel:
        self.arrived.put_nowait(call)
        await self.opened.wait()
        return self.reply


async def _done(_request: WireModel, _call: Call, _ports: Ports) -> WireModel:
    return Done.now()


async def test_call_returns_the_reply_and_passes_its_message_id(rpc: RpcClient, serve: Serve) -> None:
    gate = Gate()
    gate.opened.set()
    async with serve({"user.delete": gate}):
        assert await rpc.call(USER_DELETE, REQUEST, message_id="m1") == Done.now()
        assert (await gate.arrived.get()).message_id == "m1"


@pytest.mark.parametrize("size", [MAX_TRACE_HEADER_CHARS, 9_000])
async def test_request_with_the_longest_properties_is_below_the_workers_limit(amqp_url: str, size: int) -> None:
    """The request has the longest ids and oversized trace headers."""
    tracing = ForwardedHeaders(lambda: dict.fromkeys(TRACE_HEADERS, size * "t") | {"baggage": 9_000 * "b"})
    arrived: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def measure(message: object) -> None:
        arrived.set_result(len(message.header.marshal()))  # type: ignore[attr-defined]

    async with (
        RpcClient([amqp_url], "test client", tracing=tracing) as client,
        await aio_pika.connect(amqp_url) as connection,
        connection.channel() as channel,
    ):
        await client.wait_connected()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(RPC_EXCHANGE, USER_DELETE.name)
        await (await channel.get_underlay_channel()).basic_consume(queue.name, measure, no_ack=True)
        with pytest.raises(DeadlineExceeded):
            await client.call(USER_DELETE, REQUEST, timeout_seconds=0.5, request_id=128 * "r", message_id=255 * "m")
        assert await asyncio.wait_for(arrived, 10) < MAX_PROPERTIES_BYTES / 2


async def test_error_of_an_operation_is_raised_at_the_caller(rpc: RpcClient, serve: Serve) -> None:
    async def refuse(_request: WireModel, _call: Call, _ports: Ports) -> WireModel:
        raise UserNotFound

    async with serve({"user.delete": refuse}):
        with pytest.raises(UserNotFound):
            await rpc.call(USER_DELETE, REQUEST)


async def test_unexpected_exception_is_an_internal_error_with_an_incident_id(rpc: RpcClient, serve: Serve) -> None:
    """The worker continues to serve."""

    async def fail(_request: WireModel, _call: Call, _ports: Ports) -> WireModel:
        raise ZeroDivisionError("secret detail")

    async with serve({"user.delete": fail}):
        for _ in range(2):
            with pytest.raises(InternalError) as caught:
                await rpc.call(USER_DELETE, REQUEST)
            assert caught.value.incident
            assert "secret" not in str(caught.value)


async def test_call_without_a_worker_fails_at_once(rpc: RpcClient, serve: Serve) -> None:
    """The call fails before the first worker starts and after the last one stops."""
    for _ in range(2):
        with pytest.raises(Unavailable):
            await rpc.call(USER_DELETE, REQUEST, timeout_seconds=60)
        async with serve({"user.delete": _done}):
            await rpc.call(USER_DELETE, REQUEST)
        # The broker deletes the queue with its last consumer, some time after the connection closed.
        await _eventually(Unavailable, lambda: rpc.call(USER_DELETE, REQUEST, timeout_seconds=0.5))


async def test_call_whose_last_worker_leaves_fails_at_its_deadline(rpc: RpcClient, serve: Serve) -> None:
    """The broker accepted the request, so nothing is returned. Later calls fail at once."""
    gate = Gate()
    async with serve({"user.delete": gate}):
        calls = [asyncio.create_task(rpc.call(USER_DELETE, REQUEST, timeout_seconds=2)) for _ in range(3)]
        for _ in calls:
            await gate.arrived.get()
    await _eventually(Unavailable, lambda: rpc.call(USER_DELETE, REQUEST, timeout_seconds=0.5))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [DeadlineExceeded] * 3
    gate.opened.set()  # lets the consumer finish what it holds


async def test_call_to_a_slow_worker_waits_across_alarm_checks(rpc: RpcClient, serve: Serve) -> None:
    gate = Gate()
    async with serve({"user.delete": gate}):
        call = asyncio.create_task(rpc.call(USER_DELETE, REQUEST, timeout_seconds=60))
        await gate.arrived.get()
        await asyncio.wait([call], timeout=20 * ALARM_CHECK_SECONDS)
        gate.opened.set()
        assert await call == Done.now()


@pytest.mark.parametrize("queue_type", QueueType)
async def test_call_to_a_full_queue_is_overloaded_at_once(rpc: RpcClient, serve: Serve, queue_type: QueueType) -> None:
    """Calls in the queue are answered."""
    gate = Gate(AuthLoginReply(access_token="token"))
    async with serve({"auth.login": gate}, prefetch=1, max_length=2, queue_type=queue_type):
        calls = [asyncio.create_task(rpc.call(AUTH_LOGIN, LOGIN, timeout_seconds=60))]
        await gate.arrived.get()
        # A replicated queue reports that it is full with a delay, and accepts messages until then.
        while not any(call.done() for call in calls):
            assert len(calls) < 200, "never refused"
            calls.append(asyncio.create_task(rpc.call(AUTH_LOGIN, LOGIN, timeout_seconds=60)))
            await asyncio.wait(calls[-1:], timeout=0.05)
        gate.opened.set()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        served = [each for each in outcomes if not isinstance(each, Overloaded)]
        assert 3 <= len(served) < len(calls)
        assert all(each == gate.reply for each in served)
        retry_times = {each.retry_after_seconds for each in outcomes if isinstance(each, Overloaded)}
        assert retry_times <= set(OVERLOADED_RETRY_SECONDS)


async def test_retry_after_of_an_expired_call_is_its_timeout(rpc: RpcClient, serve: Serve) -> None:
    """By then every request in the queue is done or expired."""
    gate = Gate()
    async with serve({"user.delete": gate}):
        with pytest.raises(DeadlineExceeded) as deletion:
            await rpc.call(USER_DELETE, REQUEST, timeout_seconds=1.2)
        assert deletion.value.retry_after_seconds == 2


async def test_channel_with_only_nacks_is_replaced(amqp_url: str, serve: Serve) -> None:
    """RabbitMQ 3.10 nacks forever after a node was lost, and accepts the same on a new channel. In
    this test the queue is full until the channel is replaced.
    """
    gate = Gate()
    async with serve({"user.delete": gate}, prefetch=1, max_length=1), RpcClient([amqp_url], "stuck") as rpc:
        await rpc.connected.wait()
        calls = [asyncio.create_task(rpc.call(USER_DELETE, REQUEST, timeout_seconds=60))]
        await gate.arrived.get()
        calls.append(asyncio.create_task(rpc.call(USER_DELETE, REQUEST, timeout_seconds=60)))
        await asyncio.sleep(0)  # sent before the calls that are refused
        async with asyncio.timeout(STUCK_SECONDS + 30):
            while rpc.connected.is_set():
                with contextlib.suppress(Overloaded):
                    await rpc.call(USER_DELETE, REQUEST)
                await asyncio.sleep(0.05)
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Unavailable] * 2
        gate.opened.set()
        await _answered(lambda: rpc.call(USER_DELETE, REQUEST))


async def test_late_reply_is_a_deadline_exceeded(rpc: RpcClient, serve: Serve) -> None:
    """The next call is not confused by the late reply."""
    gate = Gate()
    async with serve({"user.delete": gate}):
        with pytest.raises(DeadlineExceeded):
            await rpc.call(USER_DELETE, REQUEST, timeout_seconds=0.2)
        gate.opened.set()
        assert await rpc.call(USER_DELETE, REQUEST) == Done.now()


async def test_expired_request_is_not_started(rpc: RpcClient, serve: Serve) -> None:
    gate = Gate()
    async with serve({"user.delete": gate}, prefetch=1):
        first = asyncio.create_task(rpc.call(USER_DELETE, REQUEST, timeout_seconds=60))
        await gate.arrived.get()
        with pytest.raises(DeadlineExceeded):
            await rpc.call(USER_DELETE, REQUEST, timeout_seconds=0.2)
        gate.opened.set()
        await first
        await rpc.call(USER_DELETE, REQUEST, message_id="after")
        assert (await gate.arrived.get()).message_id == "after"


async def test_calls_in_flight_fail_when_the_connection_is_lost(amqp_url: str, serve: Serve) -> None:
    """The client reconnects by itself."""
    gate = Gate()
    async with serve({"user.delete": gate}), Proxy(amqp_url) as proxy, RpcClient([proxy.url], "cut") as rpc:
        for _ in range(3):
            await rpc.connected.wait()
            calls = [asyncio.create_task(rpc.call(USER_DELETE, REQUEST, timeout_seconds=60)) for _ in range(5)]
            for _ in calls:
                await gate.arrived.get()
            await proxy.cut()
            outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 30)
            assert [type(outcome) for outcome in outcomes] == [Unavailable] * 5
        gate.opened.set()
        async with asyncio.timeout(30):
            await rpc.connected.wait()
            assert await rpc.call(USER_DELETE, REQUEST) == Done.now()


async def test_call_without_a_broker_fails_at_once() -> None:
    async with RpcClient(["amqp://guest:guest@127.0.0.1:9/"], "nobody") as rpc:
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await rpc.call(USER_DELETE, REQUEST, timeout_seconds=60)
        assert time.monotonic() - started < 30


async def test_client_uses_the_next_url_when_a_node_is_unreachable(amqp_url: str, serve: Serve) -> None:
    async with (
        serve({"user.delete": _done}),
        RpcClient(["amqp://guest:guest@127.0.0.1:9/", amqp_url], "two nodes") as rpc,
    ):
        async with asyncio.timeout(30):
            await rpc.connected.wait()
        assert await rpc.call(USER_DELETE, REQUEST) == Done.now()


async def test_worker_consumes_again_after_a_lost_connection(rpc: RpcClient, amqp_url: str) -> None:
    consumption = Consumption(LaneQueue("rpc.test", ("user.delete",)), 16)
    async with Proxy(amqp_url) as proxy, Replies([proxy.url], "cut replies") as replies, AsyncExitStack() as stack:
        consumer = Consumer([consumption], {"user.delete": _done}, ports(), replies)
        connection = await stack.enter_async_context(Connection([proxy.url], "cut worker", consumer.setup))
        for _ in range(3):
            async with asyncio.timeout(30):
                await connection.connected.wait()
            await _answered(lambda: rpc.call(USER_DELETE, REQUEST, timeout_seconds=1))
            await proxy.cut()


async def test_draining_consumer_answers_requests_in_flight(rpc: RpcClient, serve: Serve) -> None:
    """New requests find no worker."""
    gate = Gate()
    async with serve({"user.delete": gate}) as consumer:
        calls = [asyncio.create_task(rpc.call(USER_DELETE, REQUEST, timeout_seconds=60)) for _ in range(5)]
        for _ in calls:
            await gate.arrived.get()
        draining = asyncio.create_task(consumer.drain(grace_seconds=60))
        await _eventually(Unavailable, lambda: rpc.call(USER_DELETE, REQUEST, timeout_seconds=0.5))
        assert not draining.done()
        gate.opened.set()
        assert await asyncio.gather(*calls) == [Done.now()] * 5
        assert await draining


async def test_malformed_message_is_answered_and_acknowledged(amqp_url: str, serve: Serve) -> None:
    async with serve({"tenant.login": _done}), RawCaller(amqp_url) as caller:
        for body, properties, code in (
            (b"\xff\xfe", {}, BadRequest.code),
            (b"[" * 100_000, {}, BadRequest.code),
            (b"{}", {"content_type": "text/plain"}, BadRequest.code),
            (b"{}", {"headers": {"x-deadline-ms": "soon"}}, BadRequest.code),
            (b"[]", {}, InvalidRequest.code),
            (b'{"email": "x", "password": "hunter22"}', {}, InvalidRequest.code),
        ):
            reply = await caller.call("tenant.login", body, **properties)
            assert (reply.type, f'"code":"{code}"' in reply.body.decode()) == ("error", True), (body[:20], reply.body)
            assert b"hunter22" not in reply.body


async def test_foreign_reply_address_gets_no_reply(amqp_url: str, serve: Serve) -> None:
    """A worker may write to every queue; a caller must not use that right."""
    async with serve({"user.delete": _done}), RawCaller(amqp_url) as caller:
        victim = await caller.channel.declare_queue("victim", exclusive=True)
        request = REQUEST.to_json()
        await caller.publish("user.delete", request, reply_to="victim")
        reply = await caller.call("user.delete", request)
        assert reply.type == "reply"
        assert await victim.get(fail=False) is None


@pytest.mark.parametrize("made_up", MADE_UP)
async def test_made_up_reply_address_fails_no_other_call(
    rpc: RpcClient, amqp_url: str, serve: Serve, made_up: str
) -> None:
    """RabbitMQ closes the connection that publishes to it. Replies to other sources use another
    connection, and the message is acknowledged once.
    """
    gate = Gate()
    gate.opened.set()
    async with serve({"user.delete": gate}) as consumer, RawCaller(amqp_url, service="mallory") as caller:
        for number in range(3):
            calls = [asyncio.create_task(rpc.call(USER_DELETE, REQUEST, timeout_seconds=30)) for _ in range(10)]
            await caller.publish("user.delete", REQUEST.to_json(), reply_to=made_up, message_id=f"made up {number}")
            calls += [asyncio.create_task(rpc.call(USER_DELETE, REQUEST, timeout_seconds=30)) for _ in range(10)]
            assert await asyncio.gather(*calls) == [Done.now()] * len(calls)
        assert await consumer.drain(30)
        seen = [gate.arrived.get_nowait().message_id for _ in range(gate.arrived.qsize())]
        assert [each for each in seen if each.startswith("made up")] == [f"made up {number}" for number in range(3)]


async def test_largest_verification_batch_is_answered(rpc: RpcClient, serve: Serve) -> None:
    async def count(request: AuthVerifyRequest, _call: Call, _ports: Ports) -> WireModel:
        return AuthVerifyReply(answers=tuple(VerifyAnswer(claims=_claims(check)) for check in request.checks))

    def _claims(check: VerifyCheck) -> Claims:
        return Claims(iss="i", aud="a", sub=str(len(check.token)), iat=0, exp=1, jti="j", id="i", login="l", tenant="t")

    largest = VerifyCheck(tenant_token="t" * MAX_TOKEN_CHARS, token="u" * MAX_TOKEN_CHARS)
    frame = len(AuthVerifyRequest(checks=(largest,)).to_json()) - len(largest.to_json())
    checks = (largest,) * ((AUTH_VERIFY.max_body_bytes - frame) // (len(largest.to_json()) + len(",")))
    async with serve({"auth.verify": count}):
        reply = await rpc.call(AUTH_VERIFY, AuthVerifyRequest(checks=checks), timeout_seconds=30)
        assert [answer.unwrap().sub for answer in reply.answers] == [str(MAX_TOKEN_CHARS)] * len(checks)
        verifier = VerificationBatcher(rpc)
        answers = await asyncio.gather(
            *(verifier.verify(VerifyCheck(tenant_token="t", token="x" * n)) for n in range(1, 300))
        )
        assert [claims.sub for claims in answers] == [str(n) for n in range(1, 300)]


class RawCaller:
    """A caller that sends raw AMQP messages."""

    def __init__(self, url: str, service: str | None = None) -> None:
        """Publish to the exchange of `service`, which is declared, or to that of edges."""
        self._url = url
        self._service = service
        self._replies = asyncio.Queue[aio_pika.abc.AbstractIncomingMessage]()

    async def __aenter__(self) -> "RawCaller":
        self._connection = await aio_pika.connect(self._url)
        self.channel = await self._connection.channel()
        self._rpc = await self.channel.get_exchange("rpc", ensure=False)
        if self._service is not None:
            own = await self.channel.declare_exchange(service_exchange(self._service), "topic", auto_delete=True)
            await self._rpc.bind(own, "#")
            self._rpc = own
        replies = await self.channel.get_queue("amq.rabbitmq.reply-to", ensure=False)
        await replies.consume(self._replies.put, no_ack=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def publish(
        self, operation: str, body: bytes, reply_to: str = "amq.rabbitmq.reply-to", **properties: object
    ) -> None:
        message = aio_pika.Message(body, reply_to=reply_to, **{"content_type": "application/json", **properties})  # type: ignore[arg-type]
        await self._rpc.publish(message, operation)

    async def call(self, operation: str, body: bytes, **properties: object) -> aio_pika.abc.AbstractIncomingMessage:
        await self.publish(operation, body, **properties)  # type: ignore[arg-type]
        return await asyncio.wait_for(self._replies.get(), 30)


async def _eventually(error: type[Exception], call: Callable[[], Awaitable[object]]) -> None:
    """Call until it fails with this error; other outcomes may come before."""
    for _ in range(100):
        try:
            await call()
        except error:
            return
        except DeadlineExceeded:
            continue
        await asyncio.sleep(0.05)
    raise AssertionError(f"never {error.__name__}")


async def _answered(call: Callable[[], Awaitable[object]]) -> object:
    """Call until it is answered."""
    for _ in range(100):
        try:
            return await call()
        except (Unavailable, Overloaded, DeadlineExceeded):
            await asyncio.sleep(0.05)
    raise AssertionError("never answered")
