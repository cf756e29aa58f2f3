"""event.list"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from shared.contracts.auth_logout import AUTH_LOGOUT
from shared.contracts.errors import InvalidRequest
from shared.contracts.event_list import (
    EVENT_LIST,
    EVENTS_PER_PAGE,
    MAX_EVENTS_PER_PAGE,
    MAX_SINCE,
    OVERLAP_SECONDS,
    EventListReply,
)
from shared.contracts.events import RevocationReason
from shared.contracts.session_revoke_all import SESSION_REVOKE_ALL
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.tenant_logout import TENANT_LOGOUT
from shared.contracts.wire import MAX_NAME_CHARS
from tests.fakes import ISSUER, NOW, FakeSessions
from tests.records import a_session
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker
from worker.domain.records import Revocation, StoredSession
from worker.operations.event_list import MAX_UNANNOUNCED

BEGIN = int(NOW.timestamp())
#: The longest name: four bytes per character.
LONGEST_NAME = "\N{GRINNING FACE}" * MAX_NAME_CHARS


async def revoke(
    worker: InMemoryWorker, tenant_token: str, *, announced: bool = True, **attributes: Any
) -> StoredSession:
    """Add a session of the tenant, revoke it now, and announce it unless told otherwise."""
    tenant = (await worker.session_of(tenant_token)).tenant
    session = await worker.sessions.add(a_session(tenant=tenant, **attributes))
    revoked = await worker.sessions.revoke(session, Revocation(worker.clock.now(), RevocationReason.LOGOUT))
    assert revoked is not None
    if announced:
        await worker.sessions.announced(revoked, worker.clock.now())
    return revoked


async def announce(worker: InMemoryWorker) -> None:
    """Mark all pending announcements as published."""
    due = worker.clock.now() + timedelta(days=1)
    for tenant in await worker.sessions.tenants_unannounced(due):
        for session in await worker.sessions.unannounced(tenant, due, 100):
            await worker.sessions.announced(session, worker.clock.now())


async def listed(worker: InMemoryWorker, tenant_token: str, **query: Any) -> EventListReply:
    return await worker.call(EVENT_LIST, tenantToken=tenant_token, **query)


def sessions_of(reply: EventListReply) -> list[str]:
    return [event.data.session_id for event in reply.events]


async def test_list_without_revocations_is_one_empty_page_with_the_time(worker: InMemoryWorker, shop: str) -> None:
    assert await listed(worker, shop) == EventListReply(events=(), next_cursor="0", as_of=BEGIN)


@pytest.mark.usefixtures("ann")
async def test_listed_events_equal_the_announced_ones_oldest_first(worker: InMemoryWorker, shop: str) -> None:
    first, *others = [await worker.login(shop) for _ in range(3)]
    await worker.call(AUTH_LOGOUT, tenantToken=shop, token=first)
    await announce(worker)
    worker.clock.advance(timedelta(seconds=1))
    await worker.call(SESSION_REVOKE_ALL, tenantToken=shop, login="ann")
    await announce(worker)
    events = (await listed(worker, shop)).events
    assert [event.data.reason for event in events] == ["logout", "all_revoked", "all_revoked"]
    assert events[0].data.session_id == (await worker.session_of(first)).id
    assert {event.data.session_id for event in events[1:]} == {(await worker.session_of(each)).id for each in others}
    announced = {session.id: session.revoked_event(ISSUER) for session in worker.events.announced}
    assert {event.data.session_id: event for event in events} == announced


@pytest.mark.parametrize("since", [0, BEGIN, MAX_SINCE])
async def test_unannounced_event_is_on_the_first_page_of_any_query(
    worker: InMemoryWorker, shop: str, since: int
) -> None:
    """A subscriber that was disconnected may have missed it on the broker."""
    done = [await revoke(worker, shop) for _ in range(2)]
    session = await revoke(worker, shop, announced=False)
    first = await listed(worker, shop, since=since, limit=1)
    assert sessions_of(first)[0] == session.id
    if first.next_cursor != "0":
        assert sessions_of(await listed(worker, shop, cursor=first.next_cursor)) == [done[1].id]
    await announce(worker)
    assert sorted(sessions_of(await listed(worker, shop))) == sorted(each.id for each in (*done, session))


class AnnouncedBetweenQueries(FakeSessions):
    """Marks announcements as published right after the query for unannounced ones."""

    async def unannounced_of(self, tenant: str, limit: int) -> Sequence[StoredSession]:
        found = await super().unannounced_of(tenant, limit)
        for session in found:
            await self.announced(session, NOW)
        return found


async def test_event_announced_between_the_two_queries_is_listed_once() -> None:
    worker = InMemoryWorker(sessions=AnnouncedBetweenQueries())
    shop = await worker.register()
    session = await revoke(worker, shop, announced=False)
    assert sessions_of(await listed(worker, shop)) == [session.id]


async def test_revoked_tenant_session_is_listed_without_a_user(worker: InMemoryWorker, shop: str) -> None:
    other = (await worker.call(TENANT_LOGIN, email="shop@example.com", password=PASSWORD)).token
    await worker.call(TENANT_LOGOUT, token=other)
    await announce(worker)
    (event,) = (await listed(worker, shop)).events
    assert (event.data.session_id, event.data.user) == ((await worker.session_of(other)).id, None)


async def test_events_of_other_tenants_are_not_listed(worker: InMemoryWorker, shop: str) -> None:
    """This includes a query with the cursor of another tenant."""
    bank = await worker.register("bank@example.com")
    for _ in range(2):
        await revoke(worker, bank)
    mine = await revoke(worker, shop)
    theirs = await listed(worker, bank, limit=1)
    assert sessions_of(await listed(worker, shop)) == [mine.id]
    assert set(sessions_of(await listed(worker, shop, cursor=theirs.next_cursor))) <= {mine.id}


async def test_list_starts_two_minutes_before_since(worker: InMemoryWorker, shop: str) -> None:
    """The overlap covers events that were announced late."""
    revoked = []
    for _ in range(4):
        revoked.append((await revoke(worker, shop)).id)
        worker.clock.advance(timedelta(seconds=OVERLAP_SECONDS))
    since = BEGIN + 2 * OVERLAP_SECONDS
    assert sessions_of(await listed(worker, shop, since=since)) == revoked[1:]
    assert sessions_of(await listed(worker, shop, since=since + 1)) == revoked[2:]
    assert sessions_of(await listed(worker, shop, since=0)) == revoked


async def test_list_since_the_maximum_returns_only_the_time(worker: InMemoryWorker, shop: str) -> None:
    """New subscribers get their first position this way."""
    await revoke(worker, shop)
    assert await listed(worker, shop, since=MAX_SINCE) == EventListReply(events=(), next_cursor="0", as_of=BEGIN)


async def test_list_since_the_last_as_of_misses_no_event(worker: InMemoryWorker, shop: str) -> None:
    """It includes events revoked at the very time of the last list."""
    as_of = (await listed(worker, shop)).as_of
    late = await revoke(worker, shop)  # at the time of the first list
    worker.clock.advance(timedelta(hours=1))
    new = await revoke(worker, shop)
    assert sessions_of(await listed(worker, shop, since=as_of)) == [late.id, new.id]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_pages_hold_each_event_exactly_once(worker: InMemoryWorker, shop: str, limit: int) -> None:
    """Many sessions can be revoked in one millisecond, for example by session.revoke_all."""
    revoked = []
    for together in (3, 1, 4):
        revoked += sorted([(await revoke(worker, shop)).id for _ in range(together)])
        worker.clock.advance(timedelta(milliseconds=1))
    reply = await listed(worker, shop, limit=limit)
    found = sessions_of(reply)
    while reply.next_cursor != "0":
        reply = await listed(worker, shop, limit=limit, cursor=reply.next_cursor)
        found += sessions_of(reply)
    assert found == revoked


async def test_page_carries_the_time_of_the_first_page(worker: InMemoryWorker, shop: str) -> None:
    """Events announced between two pages may sort before their end; the next list must include them."""
    for _ in range(3):
        await revoke(worker, shop)
    reply = await listed(worker, shop, limit=1)
    for _ in range(2):
        worker.clock.advance(timedelta(minutes=10))
        reply = await listed(worker, shop, limit=1, cursor=reply.next_cursor)
        assert reply.as_of == BEGIN


async def test_page_without_a_limit_has_the_default_size(worker: InMemoryWorker, shop: str) -> None:
    for _ in range(EVENTS_PER_PAGE + 1):
        await revoke(worker, shop)
    reply = await listed(worker, shop)
    assert len(reply.events) == EVENTS_PER_PAGE
    assert len((await listed(worker, shop, cursor=reply.next_cursor)).events) == 1


async def test_largest_page_fits_into_a_message(worker: InMemoryWorker, shop: str) -> None:
    """It has the longest names and the most unannounced events, and stays below an eighth of RabbitMQ's limit."""
    for number in range(MAX_EVENTS_PER_PAGE + MAX_UNANNOUNCED + 1):
        session = await revoke(
            worker, shop, announced=number < MAX_EVENTS_PER_PAGE, login=LONGEST_NAME, device_id=LONGEST_NAME
        )
    reply = await listed(worker, shop, limit=MAX_EVENTS_PER_PAGE)
    assert len(reply.events) == MAX_EVENTS_PER_PAGE + MAX_UNANNOUNCED
    assert session.id not in sessions_of(reply)
    assert len(reply.to_json()) < 2**21


@pytest.mark.parametrize(
    "cursor",
    [
        "1",
        "1.2",
        "1.2.",
        "1.2.3.4",
        "-1.2.a",
        "1.2.a\n",
        "1.2.a/b",
        "a.2.b",
        "٣.2.a",
        f"1.{10**15 - 1}.a",
        "1.2." + "a" * 65,
    ],
)
async def test_malformed_cursor_is_refused_by_field(worker: InMemoryWorker, shop: str, cursor: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await listed(worker, shop, cursor=cursor)
    assert [problem.field for problem in caught.value.problems] == ["cursor"]


@pytest.mark.parametrize(
    "query", [{"since": -1}, {"since": MAX_SINCE + 1}, {"limit": 0}, {"limit": MAX_EVENTS_PER_PAGE + 1}]
)
def test_query_out_of_bounds_is_refused_by_field(query: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(query))):
        EVENT_LIST.request.model_validate({"tenantToken": "t", **query})
