"""Live revocations: missed events are requested, kept in order and delivered once."""

import asyncio
import time
from collections.abc import Callable

import pytest

from shared.client import revocations
from shared.client.revocations import LiveRevocations
from shared.contracts.errors import (
    AuthError,
    ErrorReply,
    InvalidCredentials,
    Overloaded,
    Unavailable,
    from_reply,
)
from shared.contracts.event_list import EventListReply
from shared.contracts.events import SessionRevokedEvent
from tests.records import a_revocation, some_claims

#: The time at the service. It differs from the local clock, so that a mix-up of the two shows.
SERVICE_EPOCH = 2_000_000_000


class FakeFeed:
    """A feed whose events a test controls; alive from the start."""

    def __init__(
        self, *, on_revoked: Callable[[SessionRevokedEvent], None], on_interrupted: Callable[[], None]
    ) -> None:
        self.alive = True
        self.proven_at = float("-inf")
        self.on_revoked = on_revoked
        self.on_interrupted = on_interrupted

    async def wait_alive(self, timeout_seconds: float) -> bool:  # noqa: ARG002 - the interface
        return True

    async def __aenter__(self) -> "FakeFeed":
        return self

    async def __aexit__(self, *_: object) -> None:
        return


class Service:
    """A fake of the service with announced events and a clock of its own, and a reader of its events."""

    def __init__(self, since: int | None = None) -> None:
        self.time = 0.0
        self.announced: list[tuple[int, SessionRevokedEvent]] = []
        self.asked: list[tuple[int, str]] = []
        self.away = 0
        self.failure: AuthError = Unavailable()
        self.refuse = False
        self.page = 2
        self.meanwhile: list[Callable[[], None]] = []
        self.feed: FakeFeed
        self.reader = LiveRevocations(self._make_feed, self.answer, since=since, monotonic=lambda: self.time)
        self.events = self.reader.read()

    def _make_feed(
        self, *, on_revoked: Callable[[SessionRevokedEvent], None], on_interrupted: Callable[[], None]
    ) -> FakeFeed:
        self.feed = FakeFeed(on_revoked=on_revoked, on_interrupted=on_interrupted)
        return self.feed

    async def answer(self, since: int, cursor: str) -> EventListReply:
        """Answer with a page of the events since then, and run the next `meanwhile` callback."""
        self.asked.append((since, cursor))
        if self.refuse:
            raise InvalidCredentials
        if self.away:
            self.away -= 1
            raise self.failure
        begin = int(cursor)
        found = [event for at, event in self.announced if at >= since]
        page = found[begin : begin + self.page]
        end = begin + len(page)
        reply = EventListReply(
            events=tuple(page),
            next_cursor=str(end) if end < len(found) else "0",
            as_of=int(SERVICE_EPOCH + self.time),
        )
        if self.meanwhile:
            self.meanwhile.pop()()
        return reply

    def announce(self, *, lost: bool = False) -> str:
        """Announce an event, which reaches the feed unless it is lost."""
        event = a_revocation(some_claims())
        self.announced.append((int(SERVICE_EPOCH + self.time), event))
        if not lost:
            self.feed.on_revoked(event)
        return event.data.session_id

    def prove(self) -> None:
        """Return of a probe: all events announced before now have arrived."""
        self.feed.proven_at = self.time

    async def read(self, count: int) -> list[str]:
        return [(await asyncio.wait_for(anext(self.events), 5)).data.session_id for _ in range(count)]

    async def nothing_more(self) -> None:
        """Let the reader run until it waits, and check that it yields nothing."""
        reading = asyncio.ensure_future(anext(self.events))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not reading.done()
        self._reading = reading

    async def begun(self) -> None:
        await self.nothing_more()

    async def rest(self, count: int) -> list[str]:
        """Read the events that come after `nothing_more`."""
        first = await asyncio.wait_for(self._reading, 5)
        return [first.data.session_id, *await self.read(count - 1)]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "LISTING_RETRY_SECONDS", 0)


async def test_reader_without_since_skips_past_events() -> None:
    service = Service()
    service.announce(lost=True)
    await service.begun()
    sessions = [service.announce() for _ in range(3)]
    assert await service.rest(3) == sessions


async def test_reader_with_since_yields_past_events_first() -> None:
    service = Service(since=SERVICE_EPOCH)
    past = [service.announce(lost=True) for _ in range(5)]
    assert await service.read(5) == past
    await service.nothing_more()
    later = service.announce()
    assert await service.rest(1) == [later]


async def test_event_both_listed_and_live_is_yielded_once() -> None:
    service = Service(since=SERVICE_EPOCH)
    past = service.announce(lost=True)
    service.feed.on_revoked(service.announced[0][1])
    assert await service.read(1) == [past]
    await service.nothing_more()


async def test_reader_after_an_interruption_requests_the_events_since_the_last_proof() -> None:
    """The position is a time of the service's clock."""
    service = Service()
    await service.begun()
    service.time = 100
    service.prove()
    service.time = 101
    lost = service.announce(lost=True)
    service.time = 110
    service.feed.on_interrupted()
    assert await service.rest(1) == [lost]
    assert service.asked[-1][0] == SERVICE_EPOCH + 100


async def test_reader_interrupted_with_unread_events_requests_them_again() -> None:
    """A later proof does not cover unread events."""
    service = Service()
    await service.begun()
    service.time = 50
    service.prove()
    read = service.announce()
    assert await service.rest(1) == [read]
    service.time = 60
    waiting = service.announce()
    service.time = 70
    service.prove()
    lost = service.announce(lost=True)
    service.feed.on_interrupted()
    assert sorted(await service.read(2)) == sorted([waiting, lost])
    assert service.asked[-1][0] == SERVICE_EPOCH + 50


async def test_reader_interrupted_during_a_catch_up_restarts_it_at_the_same_position() -> None:
    service = Service()
    await service.begun()
    service.time = 10
    service.prove()
    first = service.announce(lost=True)
    second: list[str] = []

    def interrupt() -> None:
        service.time = 30
        second.append(service.announce(lost=True))
        service.prove()
        service.feed.on_interrupted()

    service.meanwhile = [interrupt]
    service.feed.on_interrupted()
    assert [*await service.rest(1), *await service.read(1)] == [first, *second]
    assert [since for since, _ in service.asked[-2:]] == [SERVICE_EPOCH + 10] * 2


async def test_slow_reader_requests_the_events_dropped_from_its_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "MAX_BUFFERED", 2)
    service = Service()
    await service.begun()
    sessions = [service.announce() for _ in range(7)]
    assert sorted([*await service.rest(1), *await service.read(6)]) == sorted(sessions)
    await service.nothing_more()


@pytest.mark.parametrize(
    "failure",
    [Unavailable(), from_reply(ErrorReply(code="from_tomorrow", message="", retry_after_seconds=1))],
    ids=["unavailable", "code of a newer worker"],
)
async def test_reader_retries_after_a_temporary_error(failure: AuthError) -> None:
    service = Service(since=SERVICE_EPOCH)
    service.away, service.failure = 3, failure
    past = service.announce(lost=True)
    assert await service.read(1) == [past]
    assert len(service.asked) == 4


async def test_reader_stops_on_refused_credentials() -> None:
    service = Service()
    service.refuse = True
    with pytest.raises(InvalidCredentials):
        await service.read(1)


async def test_reader_without_since_first_asks_for_recent_events() -> None:
    """The first request only serves to learn the service's time, so the list should be short."""
    service = Service()
    await service.begun()
    ((since, _),) = service.asked
    assert abs(since - time.time()) < 3600


async def test_reader_interrupted_before_the_first_proof_requests_all_since_its_start() -> None:
    service = Service()
    await service.begun()
    waiting = service.announce()
    lost = service.announce(lost=True)
    service.feed.on_interrupted()
    assert sorted([*await service.rest(1), *await service.read(1)]) == sorted([waiting, lost])


async def test_tenant_lookup_is_retried_on_temporary_errors_only() -> None:
    answers: list[Exception | str] = [Unavailable(), Overloaded(), "shop"]

    async def tenant() -> str:
        answer = answers.pop(0)
        if isinstance(answer, str):
            return answer
        raise answer

    assert await revocations.wait_for_tenant(tenant) == "shop"
    answers = [InvalidCredentials()]
    service = Service()
    with pytest.raises(InvalidCredentials):
        await anext(revocations.once_tenant_is_known(tenant, service.events))
    assert service.asked == []
