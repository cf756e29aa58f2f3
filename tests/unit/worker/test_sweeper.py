"""The sweep, which finishes decided revocations and announces unannounced ones."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.contracts.errors import InvalidToken, Unavailable, UserNotFound
from shared.contracts.events import RevocationReason
from shared.contracts.session_list import SESSION_LIST
from shared.contracts.user import User
from tests.fakes import NOW, FakeEvents, FakeSessions, FakeSweepLeases, FakeUsers
from tests.records import a_key, a_session, a_user
from tests.sweeping import sweep
from tests.unit.worker.in_memory import InMemoryWorker
from worker.domain.records import IdempotencyKey, Revocation, StoredSession, UserRevocation
from worker.sweeper import BATCH, GRACE, LEASE, Sweeper, TenantRotation, Unannounced, sweep_forever


async def leave_unfinished(worker: InMemoryWorker, user: User, reason: RevocationReason) -> None:
    """Decide a revocation as a worker that dies before it revokes a session."""
    await worker.users.decide_revocation(user.tenant, user.login, reason, a_key(at=worker.clock.now()))
    worker.clock.advance(GRACE + timedelta(milliseconds=1))


@pytest.mark.parametrize("reason", [RevocationReason.PASSWORD_CHANGED, RevocationReason.ALL_REVOKED])
async def test_unfinished_user_revocation_is_finished(
    worker: InMemoryWorker, shop: str, ann: User, reason: RevocationReason
) -> None:
    """The sessions are revoked with their events; later sessions are not affected."""
    tokens = [await worker.login(shop) for _ in range(2)]
    await leave_unfinished(worker, ann, reason)
    later = await worker.login(shop)
    await sweep(worker.ports)
    for token in tokens:
        with pytest.raises(InvalidToken):
            await worker.verify(shop, token)
    await worker.verify(shop, later)
    assert worker.events.reasons == {(await worker.session_of(token)).id: reason for token in tokens}


async def test_unfinished_user_deletion_is_finished(worker: InMemoryWorker, shop: str, ann: User) -> None:
    """The sessions are revoked, the user is removed, and the login is free again."""
    token = await worker.login(shop)
    await leave_unfinished(worker, ann, RevocationReason.USER_DELETED)
    await sweep(worker.ports)
    with pytest.raises(InvalidToken):
        await worker.verify(shop, token)
    assert list(worker.events.reasons.values()) == [RevocationReason.USER_DELETED]
    with pytest.raises(UserNotFound):
        await worker.call(SESSION_LIST, tenantToken=shop, login="ann")
    assert (await worker.create(shop, "ann")).id != ann.id


async def test_finished_revocation_is_not_repeated(worker: InMemoryWorker, shop: str, ann: User) -> None:
    token = await worker.login(shop)
    await leave_unfinished(worker, ann, RevocationReason.ALL_REVOKED)
    await sweep(worker.ports)
    await worker.sessions.announced(await worker.session_of(token), worker.clock.now())
    worker.events.announced.clear()
    worker.clock.advance(timedelta(days=1))
    await sweep(worker.ports)
    assert worker.events.announced == []


async def test_recent_decision_is_left_to_its_worker(worker: InMemoryWorker, shop: str, ann: User) -> None:
    await worker.login(shop)
    await leave_unfinished(worker, ann, RevocationReason.ALL_REVOKED)
    worker.clock.advance(-timedelta(milliseconds=1))
    await sweep(worker.ports)
    assert worker.events.announced == []


async def test_unannounced_revocation_is_announced_by_each_sweep_until_confirmed(
    worker: InMemoryWorker, shop: str, ann: User
) -> None:
    token = await worker.login(shop)
    await leave_unfinished(worker, ann, RevocationReason.ALL_REVOKED)
    await sweep(worker.ports)
    worker.clock.advance(GRACE + timedelta(milliseconds=1))
    session = await worker.session_of(token)
    for _ in range(2):
        worker.events.announced.clear()
        await sweep(worker.ports)
        assert worker.events.announced == [session]
    await worker.sessions.announced(session, worker.clock.now())
    worker.events.announced.clear()
    await sweep(worker.ports)
    assert worker.events.announced == []


async def test_sweep_reports_finished_revocations_and_the_backlog(worker: InMemoryWorker, shop: str, ann: User) -> None:
    """The backlog has the age of its oldest event."""
    assert await sweep(worker.ports) == (0, Unannounced(0, 0.0))
    for _ in range(2):
        await worker.login(shop)
    await leave_unfinished(worker, ann, RevocationReason.ALL_REVOKED)
    assert await sweep(worker.ports) == (1, Unannounced(0, 0.0))
    worker.clock.advance(timedelta(seconds=90))
    assert await sweep(worker.ports) == (0, Unannounced(2, 90.0))


class FailingUsers(FakeUsers):
    """Raises each given failure once when it is asked for unfinished revocations, then answers."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__()
        self._failures = list(failures)
        self.recovered = asyncio.Event()

    async def tenants_with_unfinished_revocations(self, older_than: datetime) -> Sequence[str]:
        if self._failures:
            raise self._failures.pop(0)
        self.recovered.set()
        return await super().tenants_with_unfinished_revocations(older_than)


@pytest.mark.parametrize("failure", [Unavailable(), ValueError("a fault of ours")])
async def test_failed_sweep_is_followed_by_another(failure: Exception) -> None:
    """The failure may be an unreachable database or an unexpected exception."""
    users = FailingUsers(failure, failure)
    finished: list[int | None] = []
    ports = InMemoryWorker(users=users).ports
    sweeping = asyncio.create_task(sweep_forever(ports, interval_seconds=0, on_finished=finished.append))
    recovered = asyncio.create_task(users.recovered.wait())
    done, _ = await asyncio.wait({sweeping, recovered}, return_when=asyncio.FIRST_COMPLETED, timeout=10)
    for task in (sweeping, recovered):
        task.cancel()
    await asyncio.gather(sweeping, recovered, return_exceptions=True)
    assert done == {recovered}
    assert finished[:2] == [None, None]


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize(
    "reason", [RevocationReason.PASSWORD_CHANGED, RevocationReason.TENANT_DISABLED, RevocationReason.TENANT_DELETED]
)
async def test_unfinished_tenant_revocation_is_finished(
    worker: InMemoryWorker, shop: str, reason: RevocationReason
) -> None:
    """Sessions of its users are revoked where the reason requires it; a deleted tenant is removed."""
    token, session = await worker.login(shop), await worker.session_of(shop)
    await worker.tenants.decide_revocation(session.tenant, reason, a_key(at=worker.clock.now()))
    worker.clock.advance(GRACE + timedelta(milliseconds=1))
    await sweep(worker.ports)
    own = {session.id: reason}
    users = {(await worker.session_of(token)).id: reason}
    spares_users = reason is RevocationReason.PASSWORD_CHANGED
    assert worker.events.reasons == (own if spares_users else own | users)
    left = await worker.users.page(session.tenant, "", "", 10)
    assert len(left) == (0 if reason is RevocationReason.TENANT_DELETED else 1)
    assert await worker.tenants.unfinished_revocations(worker.clock.now(), 10) == []
    if reason is RevocationReason.TENANT_DELETED:
        assert await worker.register()


async def revoked(sessions: FakeSessions, tenant: str, number: int, at: datetime = NOW) -> list[StoredSession]:
    """Add revoked, unannounced sessions of the tenant."""
    added = [await sessions.add(a_session(tenant=tenant)) for _ in range(number)]
    ended = [await sessions.revoke(session, Revocation(at, RevocationReason.LOGOUT)) for session in added]
    return [session for session in ended if session]


async def test_backlog_of_one_tenant_leaves_room_for_another(worker: InMemoryWorker) -> None:
    """The other tenant's event is newer than the whole backlog, and still announced by the first sweep."""
    await revoked(worker.sessions, "attacker", 3 * BATCH)
    [victims] = await revoked(worker.sessions, "victim", 1, NOW + timedelta(seconds=1))
    worker.clock.advance(GRACE + timedelta(seconds=1, milliseconds=1))
    assert (await Sweeper(worker.ports).announce()).number <= BATCH
    assert victims in worker.events.announced


async def test_single_tenant_gets_the_whole_sweep(worker: InMemoryWorker) -> None:
    await revoked(worker.sessions, "shop", 2 * BATCH)
    worker.clock.advance(GRACE + timedelta(milliseconds=1))
    assert await Sweeper(worker.ports).announce() == Unannounced(BATCH, GRACE.total_seconds() + 0.001)


async def test_tenants_beyond_one_sweep_take_turns(worker: InMemoryWorker) -> None:
    """The tenants of the first sweep still have a backlog."""
    for number in range(BATCH + 1):
        await revoked(worker.sessions, f"tenant-{number}", 2)
    worker.clock.advance(GRACE + timedelta(milliseconds=1))
    sweeper = Sweeper(worker.ports)
    for _ in range(2):
        await sweeper.announce()
    assert len({session.tenant for session in worker.events.announced}) == BATCH + 1


def test_rotation_continues_after_the_last_tenant_and_wraps_around() -> None:
    """The last tenant may have no backlog any more."""
    turns = TenantRotation()
    many = [f"{number:04}" for number in range(BATCH + 2)]
    assert turns.next(many) == many[:BATCH]
    assert turns.next(many) == many[BATCH:] + many[: BATCH - 2]
    assert turns.next(["0001", "9999"]) == ["9999", "0001"]
    assert turns.next([]) == []


async def test_age_of_the_backlog_excludes_refused_events(worker: InMemoryWorker) -> None:
    """A tenant whose queue refuses everything must not raise an alarm about the service."""
    [refused] = await revoked(worker.sessions, "attacker", 1)
    await worker.sessions.refused(refused, NOW, NOW)
    worker.clock.advance(timedelta(hours=1))
    assert await Sweeper(worker.ports).announce() == Unannounced(1, 0.0)
    await revoked(worker.sessions, "victim", 1, worker.clock.now() - timedelta(seconds=30))
    assert await Sweeper(worker.ports).announce() == Unannounced(2, 30.0)


class FailingSessions(FakeSessions):
    """Fails or hangs when it revokes sessions of one tenant's users."""

    def __init__(self, tenant: str, failure: Exception | None) -> None:
        super().__init__()
        self._tenant = tenant
        self._failure = failure

    async def revoke_older(self, decision: UserRevocation, now: datetime, limit: int) -> Sequence[StoredSession]:
        if decision.tenant == self._tenant:
            if self._failure:
                raise self._failure
            await asyncio.Event().wait()
        return await super().revoke_older(decision, now, limit)


@pytest.mark.parametrize("failure", [Unavailable(), ValueError("a fault of ours"), None])
async def test_failing_revocations_of_one_tenant_do_not_delay_another(failure: Exception | None) -> None:
    """They may raise or hang."""
    worker = InMemoryWorker(sessions=FailingSessions("attacker", failure))
    for number in range(2 * BATCH):
        await _decided(worker, "attacker", f"user-{number}", NOW)
    victims = await worker.sessions.add(a_session(tenant="victim", user="ann"))
    await _decided(worker, "victim", "ann", NOW + timedelta(seconds=1))
    worker.clock.advance(GRACE + timedelta(seconds=1, milliseconds=1))
    finishing = asyncio.create_task(Sweeper(worker.ports).finish())
    async with asyncio.timeout(10):
        while victims.id not in worker.events.reasons:  # noqa: ASYNC110 - the sweep sets it
            await asyncio.sleep(0)
    finishing.cancel()
    await asyncio.gather(finishing, return_exceptions=True)


async def _decided(worker: InMemoryWorker, tenant: str, user: str, at: datetime) -> None:
    await worker.users.add(a_user(id=user, tenant=tenant, login=user))
    await worker.users.decide_revocation(tenant, user, RevocationReason.ALL_REVOKED, IdempotencyKey(f"{tenant}'s", at))


def another_worker(worker: InMemoryWorker, **replaced: Any) -> Sweeper:
    """Return the sweeper of another worker on the same database."""
    leases = FakeSweepLeases("another worker", worker.sweep_leases.held)
    return Sweeper(replace(worker.ports, sweep_leases=leases, **replaced))


async def test_backlog_that_one_worker_announces_is_left_to_it(worker: InMemoryWorker) -> None:
    """Another worker takes over when the first one no longer extends its lease."""
    await revoked(worker.sessions, "shop", 3)
    worker.clock.advance(GRACE + timedelta(milliseconds=1))
    first, second = Sweeper(worker.ports), another_worker(worker)
    assert (await first.announce()).number == 3
    worker.clock.advance(LEASE / 2)
    assert (await second.announce()).number == 0
    assert (await first.announce()).number == 3
    worker.clock.advance(LEASE)
    assert (await second.announce()).number == 3
    assert (await first.announce()).number == 0


async def test_tenant_without_a_lease_is_announced_beside_a_leased_one(worker: InMemoryWorker) -> None:
    await revoked(worker.sessions, "big", 2 * BATCH)
    worker.clock.advance(GRACE + timedelta(milliseconds=1))
    await Sweeper(worker.ports).announce()
    [small] = await revoked(worker.sessions, "small", 1, worker.clock.now() - 2 * GRACE)
    worker.events.announced.clear()
    assert (await another_worker(worker).announce()).number == 1
    assert worker.events.announced == [small]


async def test_worker_without_a_broker_counts_the_backlog_and_leaves_it_to_others(worker: InMemoryWorker) -> None:
    """It must not hold a lease on events that it cannot publish."""
    [session] = await revoked(worker.sessions, "shop", 1)
    worker.clock.advance(GRACE + timedelta(milliseconds=1))
    cut_off = FakeEvents()
    cut_off.connected = False
    assert (await another_worker(worker, events=cut_off).announce()).number == 1
    assert cut_off.announced == []
    assert (await Sweeper(worker.ports).announce()).number == 1
    assert worker.events.announced == [session]


async def test_revocation_that_one_worker_finishes_is_left_to_it(worker: InMemoryWorker) -> None:
    """The first worker hangs in its turn."""
    hanging = FailingSessions("shop", None)
    await _decided(worker, "shop", "ann", NOW)
    worker.clock.advance(GRACE + timedelta(milliseconds=1))
    first = asyncio.create_task(another_worker(worker, sessions=hanging).finish())
    while not worker.sweep_leases.held:  # noqa: ASYNC110 - the first worker's sweep takes the lease
        await asyncio.sleep(0)
    assert await Sweeper(worker.ports).finish() == 0
    worker.clock.advance(LEASE)
    assert await Sweeper(worker.ports).finish() == 1
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
