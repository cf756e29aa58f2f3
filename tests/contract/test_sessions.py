"""What every `Sessions` must do."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.contracts.events import RevocationReason
from tests.fakes import NOW, FakeSessions
from tests.records import a_session, a_user
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_sessions import MongoSessions
from worker.domain.ports import Sessions
from worker.domain.records import Revocation, StoredSession, TenantRevocation, UserRevocation

LOGOUT = Revocation(NOW, RevocationReason.LOGOUT, idempotency_key="request")
LATER = NOW + timedelta(milliseconds=1)
ANN = a_user(id="ann")


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
async def test_a_session_is_found_as_it_was_added(sessions: Sessions, owner: dict[str, Any]) -> None:
    """What is stored is what was given, for users and for tenants, the secret bit by bit."""
    session = a_session(secret=bytes(range(32)), issued_at=LATER, generation=3, **owner)
    assert await sessions.add(session) == session
    assert await stored(sessions, session) == session


async def test_find_answers_those_that_exist(sessions: Sessions) -> None:
    """Unknown ids are left out, and repeated ones do no harm."""
    first, second = await added(sessions), await added(sessions)
    await added(sessions)
    found = await sessions.find([first.id, "unknown", second.id, first.id])
    assert found == {first.id: first, second.id: second}
    assert await sessions.find(["unknown"]) == {}


async def test_find_answers_a_whole_batch(sessions: Sessions) -> None:
    """As many sessions as a batch of verifications can name are found in one go."""
    added_sessions = await asyncio.gather(*(added(sessions) for _ in range(300)))
    found = await sessions.find([session.id for session in added_sessions])
    assert found == {session.id: session for session in added_sessions}


async def test_a_login_delivered_twice_opens_one_session(sessions: Sessions) -> None:
    """The same message for the same user gets the session that it opened first."""
    first = await added(sessions, idempotency_key="message")
    again = a_session(idempotency_key="message")
    assert await sessions.add(again) == first
    assert await stored(sessions, again) is None


async def test_one_message_at_once_opens_one_session(sessions: Sessions) -> None:
    """Of 20 concurrent deliveries all answer the same session."""
    answers = await asyncio.gather(*(added(sessions, idempotency_key="message") for _ in range(20)))
    assert len({session.id for session in answers}) == 1
    assert await sessions.live_of_user(ANN, NOW, 10) == [answers[0]]


@pytest.mark.parametrize("other", [{"tenant": "bank"}, {"user": "bob"}, {"user": None}, {"idempotency_key": "another"}])
async def test_a_message_id_is_of_one_account(sessions: Sessions, other: dict[str, Any]) -> None:
    """Nobody gets somebody else's session by naming the message that opened it."""
    await added(sessions, idempotency_key="message")
    theirs = a_session(**{"idempotency_key": "message", **other})
    assert await sessions.add(theirs) == theirs


async def test_revocation_is_seen_at_once(sessions: Sessions) -> None:
    """A revoked session is found as revoked, when and why included."""
    session, other = await added(sessions), await added(sessions)
    revoked = replace(session, revocation=LOGOUT)
    assert await sessions.revoke(session, LOGOUT) == revoked
    assert await stored(sessions, session) == revoked
    assert await stored(sessions, other) == other


async def test_a_session_ends_once(sessions: Sessions) -> None:
    """A second revocation answers nothing and does not rewrite the first."""
    session = await added(sessions)
    await sessions.revoke(session, LOGOUT)
    assert await sessions.revoke(session, Revocation(LATER, RevocationReason.REVOKED)) is None
    assert await stored(sessions, session) == replace(session, revocation=LOGOUT)


async def test_one_of_many_at_once_ends_a_session(sessions: Sessions) -> None:
    """Of 20 concurrent revocations exactly one gets the session and the duty to announce it."""
    session = await added(sessions)
    answers = await asyncio.gather(*(sessions.revoke(session, LOGOUT) for _ in range(20)))
    assert [answer for answer in answers if answer] == [replace(session, revocation=LOGOUT)]


async def test_a_session_that_is_gone_is_not_revoked(sessions: Sessions) -> None:
    """A session that does not exist is not revoked into being."""
    ghost = a_session()
    assert await sessions.revoke(ghost, LOGOUT) is None
    assert await stored(sessions, ghost) is None


async def test_live_sessions_come_newest_first(sessions: Sessions) -> None:
    """Neither revoked nor expired ones, nor those of others, are among them."""
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


async def test_an_ending_ends_what_is_older(sessions: Sessions) -> None:
    """Sessions from before the ending's generation are revoked for its reason; others live on."""
    older = [await added(sessions, generation=generation) for generation in (0, 1)]
    newer = [await added(sessions, generation=generation) for generation in (2, 3)]
    others = [await added(sessions, user="bob"), await added(sessions, tenant="bank"), await added(sessions, user=None)]
    ending = UserRevocation("shop", "ann", 2, RevocationReason.PASSWORD_CHANGED)
    revoked = {session.id: replace(session, revocation=Revocation(NOW, ending.reason)) for session in older}
    assert {session.id: session for session in await sessions.revoke_older(ending, NOW, 10)} == revoked
    for session in older:
        assert await stored(sessions, session) == revoked[session.id]
    for session in newer + others:
        assert await stored(sessions, session) == session


async def test_an_ending_carried_out_again(sessions: Sessions) -> None:
    """Who repeats an ending gets what is still to be announced, as it was revoked the first time."""
    first, second = await added(sessions), await added(sessions)
    ending = UserRevocation("shop", "ann", 1, RevocationReason.USER_DELETED)
    await sessions.revoke_older(ending, NOW, 10)
    await sessions.announced(first, NOW)
    assert await sessions.revoke_older(ending, LATER, 10) == [
        replace(second, revocation=Revocation(NOW, RevocationReason.USER_DELETED))
    ]


async def test_an_ending_announces_for_others_too(sessions: Sessions) -> None:
    """A session that somebody revoked and did not announce is announced with the rest, for its own reason."""
    session = await added(sessions)
    await sessions.revoke(session, LOGOUT)
    assert await sessions.revoke_older(UserRevocation("shop", "ann", 1, RevocationReason.USER_DELETED), LATER, 10) == [
        replace(session, revocation=LOGOUT)
    ]


async def test_an_ending_leaves_the_expired_alone(sessions: Sessions) -> None:
    """A session that ended by itself is not announced as revoked."""
    session = await added(sessions, expires_at=NOW)
    assert await sessions.revoke_older(UserRevocation("shop", "ann", 1, RevocationReason.ALL_REVOKED), NOW, 10) == []
    assert await stored(sessions, session) == session


async def test_a_revocation_waits_until_it_is_announced(sessions: Sessions) -> None:
    """What was revoked is unannounced, whoever asks, until somebody says otherwise."""
    session = await added(sessions)
    assert await sessions.unannounced("shop", LATER, 10) == []
    await sessions.revoke(session, LOGOUT)
    for _ in range(2):
        assert await sessions.unannounced("shop", LATER, 10) == [replace(session, revocation=LOGOUT)]
    await sessions.announced(session, NOW)
    assert await sessions.unannounced("shop", LATER, 10) == []
    assert await stored(sessions, session) == replace(session, revocation=replace(LOGOUT, announced_at=NOW))


async def test_announcing_twice_is_no_fault(sessions: Sessions) -> None:
    """Workers may announce the same session at once; a session that is gone is announced enough."""
    session = await added(sessions)
    await sessions.revoke(session, LOGOUT)
    await sessions.announced(session, NOW)
    await sessions.announced(session, NOW)
    await sessions.announced(a_session(), NOW)
    assert await sessions.unannounced("shop", LATER, 10) == []


async def test_only_revocations_left_behind_are_unannounced(sessions: Sessions) -> None:
    """A revocation younger than asked for is in somebody's hands; no more than the limit are taken."""
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


async def test_tenants_with_something_unannounced_are_found_and_asked_for_one_by_one(sessions: Sessions) -> None:
    """However much another has left; neither those whose revocations are announced nor whose are younger."""
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


async def test_a_refused_event_is_due_again_later_and_listed_at_once(sessions: Sessions) -> None:
    """Other queues may have taken it, so its subscribers may ask for it; the later time of a retry changes nothing."""
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


async def test_a_refused_event_that_is_taken_in_the_end_is_announced(sessions: Sessions) -> None:
    session = await sessions.revoke(await added(sessions), LOGOUT)
    assert session is not None
    await sessions.refused(session, NOW, LATER)
    await sessions.announced(session, LATER)
    assert await sessions.tenants_unannounced(LATER + timedelta(days=1)) == []
    assert await stored(sessions, session) == replace(
        session, revocation=replace(LOGOUT, announced_at=LATER, refusals=1)
    )


async def test_an_event_that_is_refused_for_the_last_time_is_listed_and_not_announced_again(
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


async def test_refusals_met_by_several_workers_at_once_count_once(sessions: Sessions) -> None:
    """Of 20 that published the same event, one counts; nor is anything counted that was announced, or never ended."""
    session = await sessions.revoke(await added(sessions), LOGOUT)
    assert session is not None
    counted = await asyncio.gather(*(sessions.refused(session, NOW, LATER) for _ in range(20)))
    assert counted.count(True) == 1
    assert not await sessions.refused(session, NOW, LATER)
    await sessions.announced(session, LATER)
    for other in ((await stored(sessions, session)) or session, await added(sessions), a_session()):
        assert not await sessions.refused(other, NOW, LATER)


async def test_an_ending_does_not_announce_what_waits_for_a_retry(sessions: Sessions) -> None:
    """Or requests that are repeated would use up the retries of an event within seconds."""
    session = await sessions.revoke(await added(sessions), LOGOUT)
    assert session is not None
    await sessions.refused(session, NOW, NOW + timedelta(hours=1))
    other = await added(sessions)
    ended = replace(other, revocation=Revocation(NOW, RevocationReason.ALL_REVOKED))
    assert await sessions.revoke_older(UserRevocation("shop", "ann", 1, RevocationReason.ALL_REVOKED), NOW, 10) == [
        ended
    ]
    closing = TenantRevocation("shop", 1, RevocationReason.TENANT_DELETED, 1)
    assert await sessions.revoke_of_tenant(closing, NOW, 10) == [ended]


async def _announced(sessions: Sessions, milliseconds: int = 0, **attributes: Any) -> StoredSession:
    """A session whose revocation was announced so long after NOW."""
    session = await sessions.revoke(await added(sessions, **attributes), LOGOUT)
    assert session is not None
    at = NOW + timedelta(milliseconds=milliseconds)
    await sessions.announced(session, at)
    return replace(session, revocation=replace(LOGOUT, announced_at=at))


async def test_what_is_to_be_announced_of_a_tenant(sessions: Sessions) -> None:
    """Of all its users and of itself, the first revoked first; neither what was announced nor what is alive."""
    waiting = []
    for milliseconds, owner in ((2, {"user": None}), (1, {"user": "bob"}), (0, {})):
        revocation = Revocation(NOW + timedelta(milliseconds=milliseconds), RevocationReason.LOGOUT)
        waiting.append(await sessions.revoke(await added(sessions, **owner), revocation))
    await sessions.revoke(await added(sessions, tenant="bank"), LOGOUT)
    await _announced(sessions)
    await added(sessions)
    assert await sessions.unannounced_of("shop", 10) == waiting[::-1]
    assert await sessions.unannounced_of("shop", 2) == waiting[:0:-1]


async def test_refused_events_do_not_crowd_out_what_is_on_its_way(sessions: Sessions) -> None:
    """They are listed from their first refusal on, however many of them are due before the others."""
    for _ in range(3):
        refused = await sessions.revoke(await added(sessions), LOGOUT)
        assert refused is not None
        assert await sessions.refused(refused, NOW, NOW)
    later = Revocation(LATER, RevocationReason.LOGOUT)
    fresh = await sessions.revoke(await added(sessions), later)
    assert await sessions.unannounced_of("shop", 2) == [fresh]


async def test_announcements_come_in_order_of_time_and_id(sessions: Sessions) -> None:
    """Those after a time and an id: to the millisecond, and among those of one millisecond by their ids."""
    later = await _announced(sessions, 1)
    together = [await _announced(sessions) for _ in range(3)]
    earlier = await _announced(sessions, -1)
    everything = [earlier, *together, later]
    assert await sessions.announced_after("shop", NOW - timedelta(days=1), "", 10) == everything
    assert await sessions.announced_after("shop", NOW, "", 10) == everything[1:]
    assert await sessions.announced_after("shop", NOW, together[1].id, 10) == everything[3:]
    assert await sessions.announced_after("shop", NOW, together[2].id, 10) == [later]
    assert await sessions.announced_after("shop", LATER, later.id, 10) == []


async def test_announcements_are_taken_up_to_a_limit(sessions: Sessions) -> None:
    """No more than asked for, whether they share a time or not, and not fewer while there are more."""
    everything = [await _announced(sessions, number // 3) for number in range(8)]
    for limit in range(1, 9):
        assert await sessions.announced_after("shop", NOW, "", limit) == everything[:limit]
    assert await sessions.announced_after("shop", NOW, everything[0].id, 4) == everything[1:5]


async def test_announcements_are_of_one_tenant(sessions: Sessions) -> None:
    """Of all its users and of itself; not of others, and not of what is alive or was not announced yet."""
    own = await _announced(sessions, user=None, device_id=None)
    of_users = [await _announced(sessions, user=user) for user in ("ann", "bob")]
    await _announced(sessions, tenant="bank")
    await sessions.revoke(await added(sessions), LOGOUT)
    await sessions.announced(await added(sessions), NOW)
    assert await sessions.announced_after("shop", NOW, "", 10) == [own, *of_users]


async def test_many_announcements_in_one_millisecond(sessions: Sessions) -> None:
    """Page after page, each of them comes once."""
    for session in await asyncio.gather(*(added(sessions) for _ in range(150))):
        await sessions.revoke(session, LOGOUT)
        await sessions.announced(session, NOW)
    found: list[str] = []
    while page := await sessions.announced_after("shop", NOW, found[-1] if found else "", 40):
        found += [session.id for session in page]
    assert len(found) == len(set(found)) == 150


async def test_a_surplus_is_what_is_older_than_the_newest(sessions: Sessions) -> None:
    """Those that are kept are the newest, of the same user and generation, that live; of one moment by their ids."""
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


async def test_what_displaces_is_unsettled_until_it_is_settled(sessions: Sessions) -> None:
    """Whoever asks finds what was opened before, up to a limit, until somebody says that its surplus has ended."""
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
async def test_an_ending_of_a_tenant_ends_what_is_older(
    sessions: Sessions, reason: RevocationReason, *, of_users: bool
) -> None:
    """The tenant's own sessions from before it, and its users' if it is theirs too; those of nobody else."""
    own = [await added(sessions, user=None, tenant_generation=generation) for generation in (0, 1)]
    users = [await added(sessions, user=user, generation=7, tenant_generation=1) for user in ("ann", "bob")]
    spared = [
        await added(sessions, user=None, tenant_generation=2),
        await added(sessions, tenant_generation=2),
        await added(sessions, tenant="bank"),
        await added(sessions, tenant="bank", user=None),
        await added(sessions, expires_at=NOW),
    ]
    ended, spared = (own + users, spared) if of_users else (own, spared + users)
    ending = TenantRevocation("shop", 2, reason, users_before=2 if of_users else 0)
    revoked = {session.id: replace(session, revocation=Revocation(NOW, reason)) for session in ended}
    for _ in range(2):
        waiting = await sessions.revoke_of_tenant(ending, NOW, 10)
        assert {session.id: session for session in waiting} == revoked
    for session in ended:
        assert await stored(sessions, session) == revoked[session.id]
    for session in spared:
        assert await stored(sessions, session) == session
    assert len(await sessions.revoke_of_tenant(ending, NOW, 1)) == 1
    for session in ended:
        await sessions.announced(session, NOW)
    assert await sessions.revoke_of_tenant(ending, LATER, 10) == []


async def test_an_ending_that_took_the_place_of_another(sessions: Sessions) -> None:
    """The users' sessions of the older one end for its reason; those that began since live, and the tenant's own do
    not."""
    users = [await added(sessions, user=user, tenant_generation=0) for user in ("ann", "bob")]
    later = await added(sessions, tenant_generation=1)
    own = [await added(sessions, user=None, tenant_generation=generation) for generation in (0, 1)]
    ending = TenantRevocation("shop", 2, RevocationReason.PASSWORD_CHANGED, users_before=1)
    waiting = await sessions.revoke_of_tenant(ending, NOW, 10)
    assert {session.id: session.revocation.reason for session in waiting if session.revocation} == {
        **{session.id: RevocationReason.TENANT_DISABLED for session in users},
        **{session.id: RevocationReason.PASSWORD_CHANGED for session in own},
    }
    assert await stored(sessions, later) == later


async def test_an_ending_of_a_tenant_with_many_sessions(sessions: Sessions) -> None:
    """Whether they are few or more than are ended at a time."""
    many = await asyncio.gather(*(added(sessions) for _ in range(250)))
    await sessions.revoke_of_tenant(TenantRevocation("shop", 1, RevocationReason.TENANT_DELETED, 1), NOW, 10)
    found = await sessions.find([session.id for session in many])
    assert all(session.revocation for session in found.values())
    assert len(await sessions.unannounced("shop", LATER, 500)) == 250


async def test_what_is_stored_for_the_first_time_is_told_once(mongo_database: MongoDatabase) -> None:
    """For the metrics: not the session that was there, nor the one that had ended, whoever asks again."""
    opened: list[str] = []
    ended: list[tuple[RevocationReason, int]] = []
    sessions = MongoSessions(
        mongo_database, lambda session: opened.append(session.id), lambda *told: ended.append(told)
    )
    first = await added(sessions, id="first", idempotency_key="a", user=ANN.id, tenant=ANN.tenant)
    await added(sessions, id="again", idempotency_key="a", user=ANN.id, tenant=ANN.tenant)
    for number in (2, 3):
        await added(sessions, id=str(number), idempotency_key=str(number), user=ANN.id, tenant=ANN.tenant)
    for _ in range(2):
        await sessions.revoke(first, LOGOUT)
        await sessions.revoke_older(UserRevocation(ANN.tenant, ANN.id, 9, RevocationReason.ALL_REVOKED), NOW, 500)
    assert opened == ["first", "2", "3"]
    assert ended == [(RevocationReason.LOGOUT, 1), (RevocationReason.ALL_REVOKED, 2), (RevocationReason.ALL_REVOKED, 0)]
