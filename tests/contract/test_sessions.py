"""The contract of `Sessions`, for the fake and MongoDB."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.contracts.errors import Unavailable
from shared.contracts.events import RevocationReason
from tests.fakes import NOW, FakeSessions
from tests.records import a_session, a_user
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_sessions import MongoSessions
from worker.domain.ports import Sessions
from worker.domain.records import Revocation, StoredSession, TenantRevocation, UserRevocation

LOGOUT = Revocation(NOW, RevocationReason.LOGOUT, idempotency_key="request")
LATER = NOW + timedelta(milliseconds=1)
ANN = a_user(id="ann", login="ann")
ALL_OF_ANN = UserRevocation("shop", "ann", "ann", 1, RevocationReason.ALL_REVOKED)


@pytest.fixture(params=["fake", "mongo"])
def sessions(request: pytest.FixtureRequest) -> Sessions:
    if request.param == "fake":
        return FakeSessions()
    return MongoSessions(request.getfixturevalue("mongo_database"))


async def added(sessions: Sessions, **changes: Any) -> StoredSession:
    return await sessions.add(a_session(**changes))


async def stored(sessions: Sessions, session: StoredSession) -> StoredSession | None:
    return (await sessions.find([session.id])).get(session.id)


@pytest.mark.parametrize("owner", [{"user": "ann"}, {"user": None, "device_id": None}])
async def test_added_session_is_found_unchanged(sessions: Sessions, owner: dict[str, Any]) -> None:
    session = a_session(secret=bytes(range(32)), issued_at=LATER, generation=3, **owner)
    assert await sessions.add(session) == session
    assert await stored(sessions, session) == session


async def test_find_returns_only_existing_sessions(sessions: Sessions) -> None:
    """Repeated ids are returned once."""
    first, second = await added(sessions), await added(sessions)
    await added(sessions)
    found = await sessions.find([first.id, "unknown", second.id, first.id])
    assert found == {first.id: first, second.id: second}
    assert await sessions.find(["unknown"]) == {}


async def test_find_of_300_sessions_returns_all(sessions: Sessions) -> None:
    added_sessions = await asyncio.gather(*(added(sessions) for _ in range(300)))
    found = await sessions.find([session.id for session in added_sessions])
    assert found == {session.id: session for session in added_sessions}


async def test_repeated_login_returns_the_first_session(sessions: Sessions) -> None:
    first = await added(sessions, idempotency_key="message")
    assert await sessions.add(a_session(id=first.id, idempotency_key="message")) == first
    assert await stored(sessions, first) == first


async def test_concurrent_deliveries_of_a_login_open_one_session(sessions: Sessions) -> None:
    answers = await asyncio.gather(*(added(sessions, id="id", idempotency_key="message") for _ in range(20)))
    assert len({session.id for session in answers}) == 1
    assert await sessions.live_of_user(ANN, NOW, 10) == [answers[0]]


@pytest.mark.parametrize("other", [{"tenant": "bank"}, {"user": "bob"}, {"user": None}, {"idempotency_key": "another"}])
async def test_session_of_another_login_is_never_returned_for_its_id(sessions: Sessions, other: dict[str, Any]) -> None:
    first = await added(sessions, idempotency_key="message")
    with pytest.raises(Unavailable):
        await added(sessions, **{"id": first.id, "idempotency_key": "message", **other})
    assert await stored(sessions, first) == first


async def test_revoked_session_is_found_with_its_revocation(sessions: Sessions) -> None:
    session, other = await added(sessions), await added(sessions)
    revoked = replace(session, revocation=LOGOUT)
    assert await sessions.revoke(session, LOGOUT) == revoked
    assert await stored(sessions, session) == revoked
    assert await stored(sessions, other) == other


async def test_second_revocation_returns_none_and_keeps_the_first(sessions: Sessions) -> None:
    session = await added(sessions)
    await sessions.revoke(session, LOGOUT)
    assert await sessions.revoke(session, Revocation(LATER, RevocationReason.REVOKED)) is None
    assert await stored(sessions, session) == replace(session, revocation=LOGOUT)


async def test_one_of_concurrent_revocations_returns_the_session(sessions: Sessions) -> None:
    """The caller that gets the session announces it."""
    session = await added(sessions)
    answers = await asyncio.gather(*(sessions.revoke(session, LOGOUT) for _ in range(20)))
    assert [answer for answer in answers if answer] == [replace(session, revocation=LOGOUT)]


async def test_revoking_an_unknown_session_stores_nothing(sessions: Sessions) -> None:
    ghost = a_session()
    assert await sessions.revoke(ghost, LOGOUT) is None
    assert await stored(sessions, ghost) is None


async def test_live_sessions_of_a_user_are_listed_newest_first(sessions: Sessions) -> None:
    old = await added(sessions, issued_at=NOW - timedelta(hours=2))
    new = await added(sessions, issued_at=NOW)
    middle = await added(sessions, issued_at=NOW - timedelta(hours=1))
    await added(sessions, expires_at=NOW)
    await added(sessions, expires_at=NOW - timedelta(seconds=1))
    await added(sessions, user="bob")
    await added(sessions, tenant="bank")
    await added(sessions, user=None)
    await sessions.revoke(await added(sessions), LOGOUT)
    assert await sessions.live_of_user(ANN, NOW, 10) == [new, middle, old]


async def test_decision_revokes_only_older_generations_of_its_user(sessions: Sessions) -> None:
    older = [await added(sessions, generation=generation) for generation in (0, 1)]
    newer = [await added(sessions, generation=generation) for generation in (2, 3)]
    others = [await added(sessions, user="bob"), await added(sessions, tenant="bank"), await added(sessions, user=None)]
    decision = UserRevocation("shop", "ann", "ann", 2, RevocationReason.PASSWORD_CHANGED)
    revoked = {session.id: replace(session, revocation=Revocation(NOW, decision.reason)) for session in older}
    assert {session.id: session for session in await sessions.revoke_older(decision, NOW, 10)} == revoked
    for session in older:
        assert await stored(sessions, session) == revoked[session.id]
    for session in newer + others:
        assert await stored(sessions, session) == session


async def test_repeated_decision_returns_only_unannounced_sessions(sessions: Sessions) -> None:
    first, second = await added(sessions), await added(sessions)
    decision = UserRevocation("shop", "ann", "ann", 1, RevocationReason.USER_DELETED)
    await sessions.revoke_older(decision, NOW, 10)
    await sessions.announced(first, NOW)
    assert await sessions.revoke_older(decision, LATER, 10) == [
        replace(second, revocation=Revocation(NOW, RevocationReason.USER_DELETED))
    ]


async def test_decision_returns_an_unannounced_session_with_its_own_reason(sessions: Sessions) -> None:
    session = await added(sessions)
    await sessions.revoke(session, LOGOUT)
    assert await sessions.revoke_older(ALL_OF_ANN, LATER, 10) == [replace(session, revocation=LOGOUT)]


async def test_decision_does_not_revoke_expired_sessions(sessions: Sessions) -> None:
    session = await added(sessions, expires_at=NOW)
    assert await sessions.revoke_older(ALL_OF_ANN, NOW, 10) == []
    assert await stored(sessions, session) == session


async def test_revocation_is_unannounced_until_announced(sessions: Sessions) -> None:
    session = await added(sessions)
    assert await sessions.unannounced("shop", LATER, 10) == []
    await sessions.revoke(session, LOGOUT)
    for _ in range(2):
        assert await sessions.unannounced("shop", LATER, 10) == [replace(session, revocation=LOGOUT)]
    await sessions.announced(session, NOW)
    assert await sessions.unannounced("shop", LATER, 10) == []
    assert await stored(sessions, session) == replace(session, revocation=replace(LOGOUT, announced_at=NOW))


async def test_announcing_twice_or_an_unknown_session_is_no_error(sessions: Sessions) -> None:
    session = await added(sessions)
    await sessions.revoke(session, LOGOUT)
    await sessions.announced(session, NOW)
    await sessions.announced(session, NOW)
    await sessions.announced(a_session(), NOW)
    assert await sessions.unannounced("shop", LATER, 10) == []


async def test_unannounced_sessions_are_only_those_revoked_before_the_given_time(sessions: Sessions) -> None:
    """The worker that made a younger revocation is still announcing it."""
    for seconds in range(4):
        revocation = Revocation(NOW + timedelta(seconds=seconds), RevocationReason.LOGOUT)
        await sessions.revoke(await added(sessions), revocation)
    left_behind = await sessions.unannounced("shop", NOW + timedelta(seconds=2), 10)
    assert sorted(session.revocation.at for session in left_behind if session.revocation) == [
        NOW,
        NOW + timedelta(seconds=1),
    ]
    oldest = await sessions.unannounced("shop", NOW + timedelta(days=1), 3)
    assert [session.revocation.at for session in oldest if session.revocation] == [
        NOW + timedelta(seconds=seconds) for seconds in range(3)
    ]


async def test_unannounced_sessions_are_listed_for_each_tenant(sessions: Sessions) -> None:
    """The backlog of one tenant does not hide the sessions of another."""
    for tenant, number in (("attacker", 30), ("victim", 1)):
        for _ in range(number):
            await sessions.revoke(await added(sessions, tenant=tenant), LOGOUT)
    await sessions.revoke(await added(sessions, tenant="late"), Revocation(LATER, RevocationReason.LOGOUT))
    await _announced(sessions, tenant="done")
    await added(sessions, tenant="alive")
    assert sorted(await sessions.tenants_unannounced(LATER)) == ["attacker", "victim"]
    assert await sessions.tenants_unannounced(NOW) == []
    assert len(await sessions.unannounced("attacker", LATER, 20)) == 20
    assert [session.tenant for session in await sessions.unannounced("victim", LATER, 20)] == ["victim"]
    assert await sessions.unannounced("done", LATER, 20) == []


async def test_refused_event_is_retried_later_and_listed_immediately(sessions: Sessions) -> None:
    """Other queues may have accepted the event, so subscribers may ask for it."""
    session = await sessions.revoke(await added(sessions), LOGOUT)
    assert session is not None
    retry_at = NOW + timedelta(hours=1)
    assert await sessions.refused(session, LATER, retry_at)
    refused = replace(session, revocation=replace(LOGOUT, announced_at=LATER, refusals=1))
    assert await stored(sessions, session) == refused
    assert await sessions.unannounced("shop", retry_at, 10) == []
    assert await sessions.tenants_unannounced(retry_at) == []
    due = retry_at + timedelta(milliseconds=1)
    assert await sessions.unannounced("shop", due, 10) == [refused]
    assert await sessions.tenants_unannounced(due) == ["shop"]
    assert await sessions.announced_after("shop", NOW, "", 10) == [refused]
    assert await sessions.refused(refused, retry_at, retry_at + timedelta(hours=2))
    again = replace(session, revocation=replace(LOGOUT, announced_at=LATER, refusals=2))
    assert await sessions.announced_after("shop", NOW, "", 10) == [again]


async def test_refused_event_that_is_accepted_later_is_announced(sessions: Sessions) -> None:
    session = await sessions.revoke(await added(sessions), LOGOUT)
    assert session is not None
    await sessions.refused(session, NOW, LATER)
    await sessions.announced(session, LATER)
    assert await sessions.tenants_unannounced(LATER + timedelta(days=1)) == []
    assert await stored(sessions, session) == replace(
        session, revocation=replace(LOGOUT, announced_at=LATER, refusals=1)
    )


async def test_event_refused_for_the_last_time_is_listed_and_not_retried(
    sessions: Sessions,
) -> None:
    session = await sessions.revoke(await added(sessions), LOGOUT)
    assert session is not None
    assert await sessions.refused(session, LATER, None)
    assert await sessions.tenants_unannounced(LATER + timedelta(days=1)) == []
    assert await sessions.unannounced_of("shop", 10) == []
    assert await sessions.announced_after("shop", NOW, "", 10) == [await stored(sessions, session)]
    assert not await sessions.refused(session, LATER, LATER)
    assert await sessions.unannounced_of("shop", 10) == []


async def test_concurrent_refusals_of_one_event_count_once(sessions: Sessions) -> None:
    """No refusal is counted for announced or live sessions."""
    session = await sessions.revoke(await added(sessions), LOGOUT)
    assert session is not None
    counted = await asyncio.gather(*(sessions.refused(session, NOW, LATER) for _ in range(20)))
    assert counted.count(True) == 1
    assert not await sessions.refused(session, NOW, LATER)
    await sessions.announced(session, LATER)
    for other in ((await stored(sessions, session)) or session, await added(sessions), a_session()):
        assert not await sessions.refused(other, NOW, LATER)


async def test_decision_does_not_return_an_event_that_waits_for_its_retry(sessions: Sessions) -> None:
    """Otherwise repeated requests would use up the retries of an event within seconds."""
    session = await sessions.revoke(await added(sessions), LOGOUT)
    assert session is not None
    await sessions.refused(session, NOW, NOW + timedelta(hours=1))
    other = await added(sessions)
    revoked = replace(other, revocation=Revocation(NOW, RevocationReason.ALL_REVOKED))
    assert await sessions.revoke_older(ALL_OF_ANN, NOW, 10) == [revoked]
    deletion = TenantRevocation("shop", 1, RevocationReason.TENANT_DELETED, 1)
    assert await sessions.revoke_of_tenant(deletion, NOW, 10) == [revoked]


async def _announced(sessions: Sessions, milliseconds: int = 0, **attributes: Any) -> StoredSession:
    """Add a session whose revocation was announced this many milliseconds after NOW."""
    session = await sessions.revoke(await added(sessions, **attributes), LOGOUT)
    assert session is not None
    at = NOW + timedelta(milliseconds=milliseconds)
    await sessions.announced(session, at)
    return replace(session, revocation=replace(LOGOUT, announced_at=at))


async def test_unannounced_sessions_of_a_tenant_are_listed_oldest_first(sessions: Sessions) -> None:
    unannounced = []
    for milliseconds, owner in ((2, {"user": None}), (1, {"user": "bob"}), (0, {})):
        revocation = Revocation(NOW + timedelta(milliseconds=milliseconds), RevocationReason.LOGOUT)
        unannounced.append(await sessions.revoke(await added(sessions, **owner), revocation))
    await sessions.revoke(await added(sessions, tenant="bank"), LOGOUT)
    await _announced(sessions)
    await added(sessions)
    assert await sessions.unannounced_of("shop", 10) == unannounced[::-1]
    assert await sessions.unannounced_of("shop", 2) == unannounced[:0:-1]


async def test_refused_events_are_not_listed_as_unannounced(sessions: Sessions) -> None:
    """Refused events are listed as announced, so many of them do not crowd out new ones."""
    for _ in range(3):
        refused = await sessions.revoke(await added(sessions), LOGOUT)
        assert refused is not None
        assert await sessions.refused(refused, NOW, NOW)
    later = Revocation(LATER, RevocationReason.LOGOUT)
    fresh = await sessions.revoke(await added(sessions), later)
    assert await sessions.unannounced_of("shop", 2) == [fresh]


async def test_announced_sessions_are_ordered_by_time_and_id(sessions: Sessions) -> None:
    later = await _announced(sessions, 1)
    together = [await _announced(sessions) for _ in range(3)]
    earlier = await _announced(sessions, -1)
    everything = [earlier, *together, later]
    assert await sessions.announced_after("shop", NOW - timedelta(days=1), "", 10) == everything
    assert await sessions.announced_after("shop", NOW, "", 10) == everything[1:]
    assert await sessions.announced_after("shop", NOW, together[1].id, 10) == everything[3:]
    assert await sessions.announced_after("shop", NOW, together[2].id, 10) == [later]
    assert await sessions.announced_after("shop", LATER, later.id, 10) == []


async def test_announced_sessions_are_listed_up_to_the_limit(sessions: Sessions) -> None:
    everything = [await _announced(sessions, number // 3) for number in range(8)]
    for limit in range(1, 9):
        assert await sessions.announced_after("shop", NOW, "", limit) == everything[:limit]
    assert await sessions.announced_after("shop", NOW, everything[0].id, 4) == everything[1:5]


async def test_announced_sessions_are_those_of_one_tenant(sessions: Sessions) -> None:
    own = await _announced(sessions, user=None, device_id=None)
    of_users = [await _announced(sessions, user=user) for user in ("ann", "bob")]
    await _announced(sessions, tenant="bank")
    await sessions.revoke(await added(sessions), LOGOUT)
    await sessions.announced(await added(sessions), NOW)
    assert await sessions.announced_after("shop", NOW, "", 10) == [own, *of_users]


async def test_announced_sessions_of_one_millisecond_are_paged_without_repetition(sessions: Sessions) -> None:
    for session in await asyncio.gather(*(added(sessions) for _ in range(150))):
        await sessions.revoke(session, LOGOUT)
        await sessions.announced(session, NOW)
    found: list[str] = []
    while page := await sessions.announced_after("shop", NOW, found[-1] if found else "", 40):
        found += [session.id for session in page]
    assert len(found) == len(set(found)) == 150


async def test_sessions_over_the_limit_are_all_but_the_newest(sessions: Sessions) -> None:
    """Only live sessions of the same user and generation count; sessions of one moment are ordered by id."""
    at_once = [await added(sessions) for _ in range(3)]
    new = await added(sessions, issued_at=LATER)
    old = await added(sessions, issued_at=NOW - timedelta(hours=1))
    await added(sessions, expires_at=NOW)
    await added(sessions, generation=1)
    await added(sessions, user="bob")
    await added(sessions, tenant="bank")
    await added(sessions, user=None)
    await sessions.revoke(await added(sessions), LOGOUT)
    newest_first = [new, *sorted(at_once, key=lambda session: session.id, reverse=True), old]
    for kept in range(6):
        assert await sessions.over_limit(old, kept, NOW, 10) == newest_first[kept:]
    assert await sessions.over_limit(old, 1, NOW, 2) == newest_first[1:3]


async def test_session_that_enforces_the_limit_is_listed_until_the_limit_is_enforced(sessions: Sessions) -> None:
    session = await added(sessions, enforces_limit=True)
    await added(sessions)
    later = await added(sessions, enforces_limit=True, issued_at=LATER)
    assert await stored(sessions, session) == session
    assert await sessions.enforcing_limit("shop", NOW, 10) == []
    assert await sessions.enforcing_limit("shop", LATER, 10) == [session]
    assert len(await sessions.enforcing_limit("shop", LATER + timedelta(seconds=1), 1)) == 1
    assert await sessions.enforcing_limit("bank", LATER, 10) == []
    assert await sessions.tenants_enforcing_limit(LATER) == ["shop"]
    await sessions.limit_enforced(session)
    await sessions.limit_enforced(session)
    await sessions.limit_enforced(a_session())
    assert await stored(sessions, session) == replace(session, enforces_limit=False)
    assert await sessions.enforcing_limit("shop", LATER + timedelta(seconds=1), 10) == [later]


@pytest.mark.parametrize(
    ("reason", "of_users"),
    [
        (RevocationReason.ALL_REVOKED, False),
        (RevocationReason.PASSWORD_CHANGED, False),
        (RevocationReason.TENANT_DISABLED, True),
        (RevocationReason.TENANT_DELETED, True),
    ],
)
async def test_tenant_decision_revokes_older_sessions(
    sessions: Sessions, reason: RevocationReason, *, of_users: bool
) -> None:
    """The users' sessions are revoked only if the reason covers users."""
    own = [await added(sessions, user=None, tenant_generation=generation) for generation in (0, 1)]
    users = [await added(sessions, user=user, generation=7, tenant_generation=1) for user in ("ann", "bob")]
    kept_sessions = [
        await added(sessions, user=None, tenant_generation=2),
        await added(sessions, tenant_generation=2),
        await added(sessions, tenant="bank"),
        await added(sessions, tenant="bank", user=None),
        await added(sessions, expires_at=NOW),
    ]
    revoked_sessions, kept_sessions = (own + users, kept_sessions) if of_users else (own, kept_sessions + users)
    decision = TenantRevocation("shop", 2, reason, users_before=2 if of_users else 0)
    revoked = {session.id: replace(session, revocation=Revocation(NOW, reason)) for session in revoked_sessions}
    for _ in range(2):
        unannounced = await sessions.revoke_of_tenant(decision, NOW, 10)
        assert {session.id: session for session in unannounced} == revoked
    for session in revoked_sessions:
        assert await stored(sessions, session) == revoked[session.id]
    for session in kept_sessions:
        assert await stored(sessions, session) == session
    assert len(await sessions.revoke_of_tenant(decision, NOW, 1)) == 1
    for session in revoked_sessions:
        await sessions.announced(session, NOW)
    assert await sessions.revoke_of_tenant(decision, LATER, 10) == []


async def test_tenant_decision_that_includes_an_earlier_one_revokes_users_for_the_earlier_reason(
    sessions: Sessions,
) -> None:
    """Sessions opened after the earlier decision stay alive."""
    users = [await added(sessions, user=user, tenant_generation=0) for user in ("ann", "bob")]
    later = await added(sessions, tenant_generation=1)
    own = [await added(sessions, user=None, tenant_generation=generation) for generation in (0, 1)]
    decision = TenantRevocation("shop", 2, RevocationReason.PASSWORD_CHANGED, users_before=1)
    unannounced = await sessions.revoke_of_tenant(decision, NOW, 10)
    assert {session.id: session.revocation.reason for session in unannounced if session.revocation} == {
        **{session.id: RevocationReason.TENANT_DISABLED for session in users},
        **{session.id: RevocationReason.PASSWORD_CHANGED for session in own},
    }
    assert await stored(sessions, later) == later


async def test_tenant_decision_with_250_sessions_revokes_all(sessions: Sessions) -> None:
    many = await asyncio.gather(*(added(sessions) for _ in range(250)))
    await sessions.revoke_of_tenant(TenantRevocation("shop", 1, RevocationReason.TENANT_DELETED, 1), NOW, 10)
    found = await sessions.find([session.id for session in many])
    assert all(session.revocation for session in found.values())
    assert len(await sessions.unannounced("shop", LATER, 500)) == 250


async def test_opened_and_revoked_sessions_are_reported_once(mongo_database: MongoDatabase) -> None:
    """The reports feed the metrics; repeated requests add nothing."""
    opened: list[str] = []
    revoked_sessions: list[tuple[RevocationReason, int]] = []
    sessions = MongoSessions(
        mongo_database, lambda session: opened.append(session.id), lambda *reported: revoked_sessions.append(reported)
    )
    first = await added(sessions, id="first", idempotency_key="a", user=ANN.id, tenant=ANN.tenant)
    await added(sessions, id="first", idempotency_key="a", user=ANN.id, tenant=ANN.tenant)
    for number in (2, 3):
        await added(sessions, id=str(number), idempotency_key=str(number), user=ANN.id, tenant=ANN.tenant)
    for _ in range(2):
        await sessions.revoke(first, LOGOUT)
        await sessions.revoke_older(ALL_OF_ANN, NOW, 500)
    assert opened == ["first", "2", "3"]
    assert revoked_sessions == [
        (RevocationReason.LOGOUT, 1),
        (RevocationReason.ALL_REVOKED, 2),
        (RevocationReason.ALL_REVOKED, 0),
    ]
