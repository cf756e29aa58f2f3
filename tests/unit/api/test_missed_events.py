"""Event streams of clients that reconnect: missed events first, then live ones, without a gap."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from shared.contracts.errors import Unavailable
from shared.contracts.event_list import EVENT_LIST
from shared.contracts.operation import Operation, ReplyT, RequestT
from tests.event_stream import sessions_of
from tests.unit.api.conftest import App, OpenApp
from tests.unit.api.event_source import NOW, TENANT, EventSource, a_page, an_event, begun
from tests.unit.api.fake_rpc import FakeRpc


class PagedRpc(FakeRpc):
    """Answers `event.list` page by page; calls `while_listing` with the page number before each answer."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: list[dict[str, Any] | Exception] = [
            a_page(an_event("older", at=NOW - 200), an_event("old", at=NOW - 50), next_cursor="next"),
            a_page(an_event("new", at=NOW - 10), an_event("newer", at=NOW - 1)),
        ]
        self.while_listing: Callable[[int], None] = lambda _: None
        self.cursors: list[str] = []

    async def call(self, operation: Operation[RequestT, ReplyT], request: RequestT, **options: Any) -> ReplyT:
        if operation.name != EVENT_LIST.name:
            return await super().call(operation, request, **options)
        self.while_listing(len(self.cursors))
        self.answers[operation.name] = self.pages[len(self.cursors)]
        reply = await super().call(operation, request, **options)
        self.cursors.append(self.calls[-1].request["cursor"])
        return reply


@pytest.fixture
def rpc() -> PagedRpc:
    return PagedRpc()


@pytest.fixture
async def app(open_app: OpenApp) -> AsyncIterator[App]:
    async with open_app() as app:
        yield app


async def test_missed_events_are_sent_before_live_ones_under_the_old_position(app: App, rpc: PagedRpc) -> None:
    """A client that disconnects before the last missed event asks for all of them again."""
    async with EventSource(app.asgi, {**TENANT, "Last-Event-ID": str(NOW - 100)}) as source:
        missed = [await source.next() for _ in range(5)]
        app.streams.deliver(an_event("live"))
        live = await source.next()

    assert sessions_of([*missed, live]) == ["older", "old", "new", "newer", "live"]
    assert {block.id for block in missed} == {str(NOW - 100)}
    assert live.id == str(NOW)
    assert rpc.cursors == ["0", "next"]


async def test_event_that_is_both_listed_and_live_is_sent_once(app: App, rpc: PagedRpc) -> None:
    rpc.while_listing = lambda _: app.streams.deliver(an_event("newer"))
    async with begun(app.asgi, 0) as source:
        missed = [await source.next() for _ in range(4)]
        app.streams.deliver(an_event("live"))
        assert sessions_of([*missed, await source.next()]) == ["older", "old", "new", "newer", "live"]


async def test_event_announced_during_the_listing_is_sent_after_it(app: App, rpc: PagedRpc) -> None:
    rpc.while_listing = lambda page: app.streams.deliver(an_event(f"while page {page} is read"))
    async with begun(app.asgi, 0) as source:
        blocks = [await source.next() for _ in range(6)]

    assert sessions_of(blocks)[4:] == ["while page 0 is read", "while page 1 is read"]


@pytest.mark.parametrize("end", ["stop", "interrupt"])
async def test_stream_that_ends_during_the_listing_skips_no_event(app: App, rpc: PagedRpc, end: str) -> None:
    """Live events that wait are dropped, and no block carries an id after the gap."""

    def end_at_second_page(page: int) -> None:
        if page == 1:
            app.streams.deliver(an_event("live"))
            getattr(app.streams, end)()

    rpc.while_listing = end_at_second_page
    async with begun(app.asgi, 0) as source:
        blocks = await source.rest()

    assert sessions_of(blocks) == ["older", "old"]
    assert [block.id for block in blocks[:-1]] == ["0", "0"]
    assert blocks[-1].comment


async def test_stream_without_a_worker_for_the_next_page_ends(app: App, rpc: PagedRpc) -> None:
    """The client reconnects for the rest."""
    rpc.pages[1] = Unavailable()
    async with begun(app.asgi, 0) as source:
        *blocks, end = await source.rest()

    assert sessions_of(blocks) == ["older", "old"]
    assert end.comment == "events may have been missed"
