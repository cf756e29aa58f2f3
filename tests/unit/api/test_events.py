"""Event streams: content, start position, end and limits."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.examples import EXAMPLES, SESSION_ID
from api.streams import MAX_WAITING, Streams
from shared.contracts.errors import (
    OVERLOADED_RETRY_SECONDS,
    DeadlineExceeded,
    Forbidden,
    InternalError,
    InvalidTenantToken,
    InvalidToken,
    Overloaded,
    Temporary,
    Unavailable,
)
from shared.contracts.event_list import EVENT_LIST, MAX_SINCE
from shared.contracts.operation import Operation
from shared.contracts.permissions import Permission
from shared.contracts.principal_get import PRINCIPAL_GET
from shared.contracts.tenant_verify import TENANT_VERIFY
from tests.event_stream import Block, sessions_of
from tests.unit.api.conftest import App, OpenApp, OpenEdge
from tests.unit.api.event_source import NOW, TENANT, EventSource, a_page, an_event, begun
from tests.unit.api.fake_feed import FakeFeed
from tests.unit.api.fake_rpc import FakeRpc

#: Seconds, longer than any test runs.
FAR = 3_600


@pytest.fixture
def rpc() -> FakeRpc:
    rpc = FakeRpc()
    rpc.answers[EVENT_LIST.name] = a_page()
    return rpc


@pytest.fixture
async def app(open_app: OpenApp) -> AsyncIterator[App]:
    async with open_app() as app:
        yield app


async def test_new_stream_starts_with_position_and_retry_delay(app: App) -> None:
    """The client can reconnect with this id before any event was sent."""
    async with EventSource(app.asgi, TENANT) as source:
        first = await source.next()

    assert source.status == 200
    assert (first.id, first.event, first.data) == (str(NOW), None, None)
    assert 1_000 <= int(first.retry or 0) <= 5_000


async def test_stream_headers_forbid_caching_and_buffering(app: App) -> None:
    async with begun(app.asgi) as source:
        assert source.headers["content-type"].partition(";")[0] == "text/event-stream"
        assert source.headers["cache-control"] == "no-store"
        assert source.headers["x-accel-buffering"] == "no"
        assert len(source.headers["x-request-id"]) == 32


async def test_delivered_event_is_sent_as_the_cloudevent_of_the_broker(app: App) -> None:
    async with begun(app.asgi) as source:
        for event in (an_event("first"), an_event("second")):
            app.streams.deliver(event)
            block = await source.next()
            assert (block.event, block.id) == ("session.revoked", str(NOW))
            assert block.data == event.to_json().decode()


async def test_event_is_sent_to_all_streams_of_its_tenant_only(app: App, rpc: FakeRpc) -> None:
    async with begun(app.asgi) as first, begun(app.asgi) as second:
        rpc.answers[TENANT_VERIFY.name] = {"decoded": {**EXAMPLES[TENANT_VERIFY.name].reply["decoded"], "tenant": "t2"}}
        async with begun(app.asgi) as other:
            app.streams.deliver(an_event("of an unsubscribed tenant", tenant="t3"))
            app.streams.deliver(an_event("ours"))
            app.streams.deliver(an_event("theirs", tenant="t2"))
            app.streams.stop()
            for source, name in ((first, "ours"), (second, "ours"), (other, "theirs")):
                assert sessions_of(await source.rest()) == [name]


@pytest.mark.parametrize(
    ("refusal", "operation"),
    [(InvalidToken(), TENANT_VERIFY), (InvalidTenantToken(), EVENT_LIST)],
    ids=["revoked", "revoked during the request"],
)
async def test_stream_with_a_revoked_token_is_answered_401(
    open_app: OpenApp, rpc: FakeRpc, refusal: Exception, operation: Operation[Any, Any]
) -> None:
    """No stream stays open."""
    rpc.answers[operation.name], rpc.answers[PRINCIPAL_GET.name] = refusal, InvalidTenantToken()
    async with open_app() as app:
        async with EventSource(app.asgi, TENANT) as source:
            assert source.status == 401
            assert source.headers["www-authenticate"].endswith('error="invalid_token"')
        assert app.streams.count == 0


async def test_stream_without_a_token_is_challenged(app: App) -> None:
    async with EventSource(app.asgi, {}) as source:
        assert (source.status, source.headers["www-authenticate"]) == (401, 'Bearer realm="jincor-auth"')


async def test_stream_while_the_feed_is_not_alive_is_answered_503(app: App, feed: FakeFeed) -> None:
    """The edge itself may miss events during that time."""
    feed.is_alive = False
    async with EventSource(app.asgi, TENANT) as source:
        assert (source.status, source.headers["retry-after"]) == (503, "1")


async def test_an_event_source_during_an_outage_is_told_to_reconnect_with_its_position(
    app: App, rpc: FakeRpc, feed: FakeFeed, caplog: pytest.LogCaptureFixture
) -> None:
    """Any other status would end a browser's `EventSource` for good; a comment and no id leave its position."""
    caplog.set_level(logging.INFO)
    browser = {**TENANT, "Accept": "text/event-stream", "Last-Event-ID": "17"}
    outages: list[tuple[str, Exception]] = [
        (TENANT_VERIFY.name, Unavailable()),
        (TENANT_VERIFY.name, DeadlineExceeded()),
        (EVENT_LIST.name, Overloaded(retry_after_seconds=30)),
    ]
    for operation, outage in outages:
        working, rpc.answers[operation] = rpc.answers[operation], outage
        async with EventSource(app.asgi, browser) as source:
            assert (source.status, source.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
            assert (source.headers["cache-control"], source.headers["x-accel-buffering"]) == ("no-store", "no")
            [block] = await source.rest()
        assert isinstance(outage, Temporary)
        wait = 1_000 * outage.retry_after_seconds
        assert wait + 1_000 <= int(block.retry or 0) <= wait + 5_000
        assert block == Block(comment=f"events are late: {outage.code}", retry=block.retry)
        assert caplog.records[-1].__dict__["code"] == outage.code
        rpc.answers[operation] = working
    feed.is_alive = False
    async with EventSource(app.asgi, browser) as source:
        assert [block.comment for block in await source.rest()] == ["events are late: unavailable"]
    assert app.streams.count == 0


@pytest.mark.parametrize(
    ("refusal", "status"), [(InvalidToken(), 401), (InternalError(), 500)], ids=["invalid token", "internal error"]
)
async def test_an_event_source_with_a_lasting_error_gets_its_status(
    app: App, rpc: FakeRpc, refusal: Exception, status: int
) -> None:
    """A browser that reconnected with a dead token would never learn that it is dead."""
    rpc.answers[TENANT_VERIFY.name], rpc.answers[PRINCIPAL_GET.name] = refusal, InvalidTenantToken()
    async with EventSource(app.asgi, {**TENANT, "Accept": "text/event-stream"}) as source:
        assert source.status == status


async def test_stream_from_a_position_without_a_worker_is_answered_503(app: App, rpc: FakeRpc) -> None:
    """The missed events are unknown without a worker. No stream stays open."""
    rpc.answers[EVENT_LIST.name] = Unavailable()
    async with EventSource(app.asgi, TENANT, "lastEventId=1") as source:
        assert (source.status, source.headers["retry-after"]) == (503, "1")
    assert app.streams.count == 0


@pytest.mark.parametrize("given", ["a", "-1", "1.5", "1 000", "0x10", "+1", "1_0", str(MAX_SINCE + 1), "9" * 30])
async def test_invalid_position_is_answered_422_with_its_field(open_edge: OpenEdge, given: str) -> None:
    async with open_edge() as edge:
        header = await edge.get("/events", headers={**TENANT, "Last-Event-ID": given})
        query = await edge.get("/events", headers=TENANT, params={"lastEventId": given})

    for response, field in ((header, "Last-Event-ID"), (query, "lastEventId")):
        assert response.status_code == 422
        assert [problem["field"] for problem in response.json()["errors"]] == [field]


@pytest.mark.parametrize(
    ("headers", "query", "since"),
    [
        ({"Last-Event-ID": "17"}, "", 17),
        ({}, "lastEventId=17", 17),
        ({"Last-Event-ID": "0"}, "lastEventId=17", 0),
        ({}, "", MAX_SINCE),
        ({"Last-Event-ID": ""}, "lastEventId=", MAX_SINCE),
    ],
)
async def test_stream_from_a_position_requests_the_events_since_then(
    app: App, rpc: FakeRpc, headers: dict[str, str], query: str, since: int
) -> None:
    """The header wins over the query, because browsers update only the header."""
    async with EventSource(app.asgi, {**TENANT, **headers}, query) as source:
        assert source.status == 200

    assert [call.operation for call in rpc.calls] == [TENANT_VERIFY.name, EVENT_LIST.name]
    asked = rpc.calls[1].request
    assert (asked["tenantToken"], asked["since"], asked["cursor"]) == ("tenant-token", since, "0")


async def test_position_in_the_future_is_replaced_by_the_current_time(app: App) -> None:
    async with EventSource(app.asgi, {**TENANT, "Last-Event-ID": str(NOW + FAR)}) as source:
        assert (await source.next()).id == str(NOW)


async def test_duplicate_event_is_sent_once(app: App) -> None:
    """Workers announce at least once."""
    async with begun(app.asgi) as source:
        for name in ("one", "one", "two", "one"):
            app.streams.deliver(an_event(name))
        app.streams.stop()
        assert sessions_of(await source.rest()) == ["one", "two"]


async def test_heartbeat_position_advances_with_the_feed_only(open_app: OpenApp, feed: FakeFeed) -> None:
    async with open_app(event_heartbeat_seconds=0.01) as app, begun(app.asgi) as source:
        assert [await source.next() for _ in range(3)] == [Block(id=str(NOW))] * 3
        feed.proven_at = time.monotonic() + FAR
        while (block := await source.next()).id == str(NOW):
            pass
        assert int(block.id or 0) >= NOW + FAR
        feed.proven_at = time.monotonic()
        assert int((await source.next()).id or 0) >= NOW + FAR


async def test_position_does_not_advance_past_waiting_events(app: App, feed: FakeFeed) -> None:
    """A client that disconnects between two events must get the second one after it reconnects."""
    async with begun(app.asgi) as source:
        source.pause()
        for name in ("being sent", "waits", "waits too"):
            app.streams.deliver(an_event(name))
        feed.proven_at = time.monotonic() + FAR
        source.go_on()
        ids = [int((await source.next()).id or 0) for _ in range(3)]

    assert ids[:2] == [NOW, NOW]
    assert ids[2] >= NOW + FAR


async def test_slow_client_is_disconnected_at_the_limit_of_waiting_events(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    """Other streams are not affected."""
    async with begun(app.asgi) as slow, begun(app.asgi) as other:
        slow.pause()
        for number in range(MAX_WAITING + 10):
            app.streams.deliver(an_event(str(number)))
            await other.next()
        slow.go_on()
        blocks = await slow.rest()

    assert len(sessions_of(blocks)) < 3
    assert blocks[-1] == Block(comment="too many events were waiting to be read")
    assert "read too slowly" in caplog.text


async def test_feed_interruption_ends_all_streams_after_earlier_events(app: App) -> None:
    """The clients may reconnect at once."""
    async with begun(app.asgi) as first, begun(app.asgi) as second:
        app.streams.deliver(an_event("before"))
        app.streams.interrupt()
        app.streams.deliver(an_event("after"))
        for source in (first, second):
            event, end = await source.rest()
            assert sessions_of([event]) == ["before"]
            assert end == Block(comment="events may have been missed")
    async with begun(app.asgi):
        assert app.streams.count == 1


async def test_stopping_edge_ends_its_streams_and_opens_no_more(app: App) -> None:
    async with begun(app.asgi) as source:
        app.streams.stop()
        app.streams.interrupt()  # its feed does this on closing
        assert await source.rest() == [Block(comment="this edge is stopping")]
    async with EventSource(app.asgi, TENANT) as source:
        assert source.status == 503


async def test_revoked_tenant_session_ends_its_stream_after_the_event(app: App) -> None:
    async with begun(app.asgi) as source:
        for name in ("another", SESSION_ID, "later"):
            app.streams.deliver(an_event(name))
        *blocks, end = await source.rest()

    assert sessions_of(blocks) == ["another", SESSION_ID]
    assert end == Block(comment="the credential was revoked")


async def test_revoked_session_of_an_operator_ends_its_stream_of_another_tenant(app: App) -> None:
    """The event of the operator's session is not sent: it belongs to the operators' tenant."""
    async with begun(app.asgi) as source:
        app.streams.deliver(an_event(SESSION_ID, tenant="operators"))
        assert await source.rest() == [Block(comment="the credential was revoked")]


async def test_stream_of_an_operator_ends_soon_and_its_permission_is_checked_again(
    open_app: OpenApp, rpc: FakeRpc
) -> None:
    """The permission may be withdrawn while the session lives, and no event tells that. Other streams go on."""
    async with open_app(event_heartbeat_seconds=0.05) as app, begun(app.asgi) as of_tenant:
        rpc.answers[TENANT_VERIFY.name] = InvalidToken()
        example = EXAMPLES[PRINCIPAL_GET.name].reply
        rpc.answers[PRINCIPAL_GET.name] = {**example, "credential": "api_key"}
        async with begun(app.asgi) as of_key:
            rpc.answers[PRINCIPAL_GET.name] = {**example, "credential": "operator_token"}
            async with begun(app.asgi) as source:
                assert (await source.rest())[-1] == Block(comment="the operator's permission must be checked again")
            rpc.answers[EVENT_LIST.name] = Forbidden.without(Permission.EVENTS_READ)
            async with EventSource(app.asgi, TENANT) as refused:
                assert refused.status == 403
            for stream in (of_tenant, of_key):
                assert (await stream.next()).comment is None
        assert app.streams.count == 1


async def test_expired_tenant_token_ends_the_stream(app: App, rpc: FakeRpc) -> None:
    """The service's clock decides, not the clock of this machine."""
    claims = EXAMPLES[TENANT_VERIFY.name].reply["decoded"]
    rpc.answers[TENANT_VERIFY.name] = {"decoded": {**claims, "exp": NOW}}
    async with begun(app.asgi) as source:
        assert await source.rest() == [Block(comment="the credential expired")]


async def test_stream_beyond_the_limit_of_edge_or_tenant_is_answered_503(open_app: OpenApp, rpc: FakeRpc) -> None:
    """A closed stream frees its slot."""
    async with open_app(event_streams=2, event_streams_per_tenant=1) as app, begun(app.asgi) as source:
        async with EventSource(app.asgi, TENANT) as refused:
            assert refused.status == 503
            assert int(refused.headers["retry-after"]) in OVERLOADED_RETRY_SECONDS
        for tenant, status in (("t2", 200), ("t3", 503)):
            claims = {**EXAMPLES[TENANT_VERIFY.name].reply["decoded"], "tenant": tenant}
            rpc.answers[TENANT_VERIFY.name] = {"decoded": claims}
            other = EventSource(app.asgi, TENANT)
            await other.__aenter__()
            assert other.status == status
        await source.leave()
        async with EventSource(app.asgi, TENANT) as another:
            assert another.status == 200


@pytest.mark.parametrize("reads", [True, False])
async def test_disconnected_client_leaves_no_stream_and_one_log_line(
    app: App, caplog: pytest.LogCaptureFixture, reads: bool
) -> None:
    """This also holds for a client that has stopped reading."""
    caplog.set_level(logging.INFO)
    async with begun(app.asgi) as source:
        assert app.streams.count == 1
        if not reads:
            source.pause()
            app.streams.deliver(an_event("never read"))
        await source.leave()
        assert app.streams.count == 0

    [record] = [record for record in caplog.records if record.name == "api.middleware"]
    assert (record.__dict__["route"], record.__dict__["status"]) == ("/events", 200)


async def test_closed_stream_has_no_expiry_timer() -> None:
    """A timer would keep the stream in memory until its token expires."""
    streams = Streams(1, 1, heartbeat_seconds=FAR)
    with streams.open("tenant", "session", expires=NOW) as stream:
        stream.expire_in(0)
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(0, later.set)
    await later.wait()
    assert stream.ended is None


async def test_client_that_disconnects_before_the_response_leaves_no_stream(app: App) -> None:
    source = EventSource(app.asgi, TENANT)
    source.start()
    await source.leave()
    assert app.streams.count == 0
