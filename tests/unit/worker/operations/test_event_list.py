"""event.list"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from shared.contracts.auth_logout import AUTH_LOGOUT
from shared.contracts.errors import InvalidRequest
from shared.contracts.event_list import (
    DEFAULT_PAGE,
    EVENT_LIST,
    MAX_PAGE,
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
from worker.domain.records import Revocation, Session
from worker.operations.event_list import MAX_UNANNOUNCED

BEGIN = int(NOW.timestamp())
#: Four bytes each, and nothing is longer.
LONGEST_NAME = "\N{GRINNING FACE}" * MAX_NAME_CHARS


async def revoke(worker: InMemoryWorker, tenant_token: str, *, announced: bool = True, **attributes: Any) -> Session:
    """A session of the tenant, that was revoked now, and announced unless it is on its way."""
    tenant = (await worker.session_of(tenant_token)).tenant
    session = await worker.sessions.add(a_session(tenant=tenant, **attributes))
    revoked = await worker.sessions.revoke(session, Revocation(worker.clock.now(), RevocationReason.LOGOUT))
    assert revoked is not None
    if announced:
        await worker.sessions.announced(revoked, worker.clock.now())
    return revoked


async def announce(worker: InMemoryWorker) -> None:
    """What was to be announced has reached the broker."""
    due = worker.clock.now() + timedelta(days=1)
    for tenant in await worker.sessions.tenants_unannounced(due):
        for session in await worker.sessions.unannounced(tenant, due, 100):
            await worker.sessions.announced(session, worker.clock.now())


async def listed(worker: InMemoryWorker, tenant_token: str, **query: Any) -> EventListReply:
    return await worker.call(EVENT_LIST, tenantToken=tenant_token, **query)


def sessions_of(reply: EventListReply) -> list[str]:
    return [event.data.session_id for event in reply.events]


async def test_a_tenant_without_revocations(worker: InMemoryWorker, shop: str) -> None:
    """An empty list is one page, the last, and tells the time."""
    assert await listed(worker, shop) == EventListReply(events=(), next_cursor="0", as_of=BEGIN)


@pytest.mark.usefixtures("ann")
async def test_events_are_those_that_were_announced(worker: InMemoryWorker, shop: str) -> None:
    """Of each revocation the very event that subscribers were sent, the oldest first."""
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
async def test_what_is_being_announced_is_listed(worker: InMemoryWorker, shop: str, since: int) -> None:
    """It may have passed by a subscriber that had not come back yet: it is on the first page, whatever is asked for."""
    done = [await revoke(worker, shop) for _ in range(2)]
    session = await revoke(worker, shop, announced=False)
    first = await listed(worker, shop, since=since, limit=1)
    assert sessions_of(first)[0] == session.id
    if first.next_cursor != "0":
        assert sessions_of(await listed(worker, shop, cursor=first.next_cursor)) == [done[1].id]
    await announce(worker)
    assert sorted(sessions_of(await listed(worker, shop))) == sorted(each.id for each in (*done, session))


class NotedBetweenLooks(FakeSessions):
    """Announcements are noted right after somebody has looked for those that are not."""

    async def unannounced_of(self, tenant: str, limit: int) -> Sequence[Session]:
        found = await super().unannounced_of(tenant, limit)
        for session in found:
            await self.announced(session, NOW)
        return found


async def test_what_is_noted_between_two_looks_is_listed() -> None:
    """An event whose announcement is noted while it is looked for is found, and once."""
    worker = InMemoryWorker(sessions=NotedBetweenLooks())
    shop = await worker.register()
    session = await revoke(worker, shop, announced=False)
    assert sessions_of(await listed(worker, shop)) == [session.id]


async def test_the_tenants_own_sessions_are_listed(worker: InMemoryWorker, shop: str) -> None:
    """The end of a tenant's session is an event without a user."""
    other = (await worker.call(TENANT_LOGIN, email="shop@example.com", password=PASSWORD)).token
    await worker.call(TENANT_LOGOUT, token=other)
    await announce(worker)
    (event,) = (await listed(worker, shop)).events
    assert (event.data.session_id, event.data.user) == ((await worker.session_of(other)).id, None)


async def test_other_tenants_events_are_not_listed(worker: InMemoryWorker, shop: str) -> None:
    """Not even with the cursor of a page of theirs."""
    bank = await worker.register("bank@example.com")
    for _ in range(2):
        await revoke(worker, bank)
    mine = await revoke(worker, shop)
    theirs = await listed(worker, bank, limit=1)
    assert sessions_of(await listed(worker, shop)) == [mine.id]
    assert set(sessions_of(await listed(worker, shop, cursor=theirs.next_cursor))) <= {mine.id}


async def test_a_list_begins_two_minutes_before_since(worker: InMemoryWorker, shop: str) -> None:
    """What was asked for by time comes with what may have been seen late, and with nothing older."""
    revoked = []
    for _ in range(4):
        revoked.append((await revoke(worker, shop)).id)
        worker.clock.advance(timedelta(seconds=OVERLAP_SECONDS))
    since = BEGIN + 2 * OVERLAP_SECONDS
    assert sessions_of(await listed(worker, shop, since=since)) == revoked[1:]
    assert sessions_of(await listed(worker, shop, since=since + 1)) == revoked[2:]
    assert sessions_of(await listed(worker, shop, since=0)) == revoked


async def test_who_asks_from_the_end_of_time_learns_the_time(worker: InMemoryWorker, shop: str) -> None:
    """A subscriber that begins now takes its first position this way."""
    await revoke(worker, shop)
    assert await listed(worker, shop, since=MAX_SINCE) == EventListReply(events=(), next_cursor="0", as_of=BEGIN)


async def test_asking_from_the_last_answer_on_misses_nothing(worker: InMemoryWorker, shop: str) -> None:
    """Whatever was revoked between two lists, or just before the first without being in it, is in the second."""
    as_of = (await listed(worker, shop)).as_of
    late = await revoke(worker, shop)  # at the very time of the first list
    worker.clock.advance(timedelta(hours=1))
    new = await revoke(worker, shop)
    assert sessions_of(await listed(worker, shop, since=as_of)) == [late.id, new.id]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_pages_hold_each_event_once(worker: InMemoryWorker, shop: str, limit: int) -> None:
    """However many sessions ended in one millisecond: revoking all of a user's ends them so."""
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


async def test_every_page_tells_the_time_of_the_first(worker: InMemoryWorker, shop: str) -> None:
    """What is announced while pages are read may lie before their ends, so the next list begins where the first did."""
    for _ in range(3):
        await revoke(worker, shop)
    reply = await listed(worker, shop, limit=1)
    for _ in range(2):
        worker.clock.advance(timedelta(minutes=10))
        reply = await listed(worker, shop, limit=1, cursor=reply.next_cursor)
        assert reply.as_of == BEGIN


async def test_a_page_has_a_usual_size(worker: InMemoryWorker, shop: str) -> None:
    """Who asks for no size gets the usual one."""
    for _ in range(DEFAULT_PAGE + 1):
        await revoke(worker, shop)
    reply = await listed(worker, shop)
    assert len(reply.events) == DEFAULT_PAGE
    assert len((await listed(worker, shop, cursor=reply.next_cursor)).events) == 1


async def test_the_largest_page_is_a_message(worker: InMemoryWorker, shop: str) -> None:
    """Full, of the longest names, and with as much on its way: an eighth of what RabbitMQ takes."""
    for number in range(MAX_PAGE + MAX_UNANNOUNCED + 1):
        session = await revoke(worker, shop, announced=number < MAX_PAGE, login=LONGEST_NAME, device_id=LONGEST_NAME)
    reply = await listed(worker, shop, limit=MAX_PAGE)
    assert len(reply.events) == MAX_PAGE + MAX_UNANNOUNCED
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
async def test_a_cursor_of_nobodys(worker: InMemoryWorker, shop: str, cursor: str) -> None:
    """A cursor that no page answered is an invalid request that names the field."""
    with pytest.raises(InvalidRequest) as caught:
        await listed(worker, shop, cursor=cursor)
    assert [problem.field for problem in caught.value.problems] == ["cursor"]


@pytest.mark.parametrize("query", [{"since": -1}, {"since": MAX_SINCE + 1}, {"limit": 0}, {"limit": MAX_PAGE + 1}])
def test_what_cannot_be_asked_for(query: dict[str, int]) -> None:
    """Times that are no dates, and pages that are none or too large, are refused."""
    with pytest.raises(ValueError, match=next(iter(query))):
        EVENT_LIST.request.model_validate({"tenantToken": "t", **query})
