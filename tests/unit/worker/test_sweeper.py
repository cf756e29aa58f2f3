"""What the sweep finishes: endings that were decided and revocations that were not announced."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from shared.contracts.errors import InvalidToken, Unavailable, UserNotFound
from shared.contracts.events import RevocationReason
from shared.contracts.session_list import SESSION_LIST
from shared.contracts.user import User
from tests.fakes import NOW, FakeSessions, FakeUsers
from tests.records import a_key, a_session, a_user
from tests.sweeping import sweep
from tests.unit.worker.in_memory import InMemoryWorker
from worker.domain.records import IdempotencyKey, Revocation, Session, UserRevocation
from worker.sweeper import BATCH, GRACE, Sweeper, TenantRotation, Unannounced, sweep_forever


async def left_behind(worker: InMemoryWorker, user: User, reason: RevocationReason) -> None:
    """A worker decided that the user's sessions end, and died before it ended any."""
    await worker.users.decide_revocation(user.tenant, user.login, reason, a_key(at=worker.clock.now()))
    worker.clock.advance(GRACE + timedelta(milliseconds=1))


@pytest.mark.parametrize("reason", [RevocationReason.PASSWORD_CHANGED, RevocationReason.ALL_REVOKED])
async def test_an_ending_left_behind_is_finished(
    worker: InMemoryWorker, shop: str, ann: User, reason: RevocationReason
) -> None:
    """Sessions that were decided to end do end, with their events; a later login is not touched."""
    tokens = [await worker.login(shop) for _ in range(2)]
    await left_behind(worker, ann, reason)
    later = await worker.login(shop)
    await sweep(worker.ports)
    for token in tokens:
        with pytest.raises(InvalidToken):
            await worker.verify(shop, token)
    await worker.verify(shop, later)
    assert worker.events.reasons == {(await worker.session_of(token)).id: reason for token in tokens}


async def test_a_deletion_left_behind_is_finished(worker: InMemoryWorker, shop: str, ann: User) -> None:
    """The sessions end, the user is removed, and its login is free again."""
    token = await worker.login(shop)
    await left_behind(worker, ann, RevocationReason.USER_DELETED)
    await sweep(worker.ports)
    with pytest.raises(InvalidToken):
        await worker.verify(shop, token)
    assert list(worker.events.reasons.values()) == [RevocationReason.USER_DELETED]
    with pytest.raises(UserNotFound):
        await worker.call(SESSION_LIST, tenantToken=shop, login="ann")
    assert (await worker.create(shop, "ann")).id != ann.id


async def test_a_finished_ending_is_finished_once(worker: InMemoryWorker, shop: str, ann: User) -> None:
    """The next sweep finds no ending; what is still unannounced it announces again."""
    token = await worker.login(shop)
    await left_behind(worker, ann, RevocationReason.ALL_REVOKED)
    await sweep(worker.ports)
    await worker.sessions.announced(await worker.session_of(token), worker.clock.now())
    worker.events.announced.clear()
    worker.clock.advance(timedelta(days=1))
    await sweep(worker.ports)
    assert worker.events.announced == []


async def test_work_in_hand_is_left_alone(worker: InMemoryWorker, shop: str, ann: User) -> None:
    """What was decided a moment ago is in the hands of who decided it."""
    await worker.login(shop)
    await left_behind(worker, ann, RevocationReason.ALL_REVOKED)
    worker.clock.advance(-timedelta(milliseconds=1))
    await sweep(worker.ports)
    assert worker.events.announced == []


async def test_a_revocation_is_announced_until_it_was(worker: InMemoryWorker, shop: str, ann: User) -> None:
    """A revocation whose event did not reach the broker is announced by each sweep until it did."""
    token = await worker.login(shop)
    await left_behind(worker, ann, RevocationReason.ALL_REVOKED)
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


async def test_a_sweep_tells_what_it_found(worker: InMemoryWorker, shop: str, ann: User) -> None:
    """Endings that were left, and revocations with the age of the oldest; nothing where nothing was left."""
    assert await sweep(worker.ports) == (0, Unannounced(0, 0.0))
    for _ in range(2):
        await worker.login(shop)
    await left_behind(worker, ann, RevocationReason.ALL_REVOKED)
    assert await sweep(worker.ports) == (1, Unannounced(0, 0.0))
    worker.clock.advance(timedelta(seconds=90))
    assert await sweep(worker.ports) == (0, Unannounced(2, 90.0))


class Troubled(FakeUsers):
    """Fails when it is asked for endings, in each way given, then answers; `asked` tells how often."""

    def __init__(self, *troubles: Exception) -> None:
        super().__init__()
        self._troubles = list(troubles)
        self.recovered = asyncio.Event()

    async def tenants_with_unfinished_revocations(self, older_than: datetime) -> Sequence[str]:
        if self._troubles:
            raise self._troubles.pop(0)
        self.recovered.set()
        return await super().tenants_with_unfinished_revocations(older_than)


@pytest.mark.parametrize("trouble", [Unavailable(), ValueError("a fault of ours")])
async def test_a_sweep_that_fails_is_not_the_last(trouble: Exception) -> None:
    """A database that is away, or a fault, costs one sweep; the next one happens."""
    users = Troubled(trouble, trouble)
    told: list[int | None] = []
    ports = InMemoryWorker(users=users).ports
    sweeping = asyncio.create_task(sweep_forever(ports, interval_seconds=0, on_finished=told.append))
    recovered = asyncio.create_task(users.recovered.wait())
    done, _ = await asyncio.wait({sweeping, recovered}, return_when=asyncio.FIRST_COMPLETED, timeout=10)
    for task in (sweeping, recovered):
        task.cancel()
    await asyncio.gather(sweeping, recovered, return_exceptions=True)
    assert done == {recovered}
    assert told[:2] == [None, None]


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize(
    "reason", [RevocationReason.PASSWORD_CHANGED, RevocationReason.TENANT_DISABLED, RevocationReason.TENANT_DELETED]
)
async def test_an_ending_of_a_tenant_left_behind_is_finished(
    worker: InMemoryWorker, shop: str, reason: RevocationReason
) -> None:
    """Its sessions, and its users' where they are meant, end with their events; a deleted one is removed."""
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


async def revoked(sessions: FakeSessions, tenant: str, number: int, at: datetime = NOW) -> list[Session]:
    """Sessions of the tenant that ended then, and nobody announced."""
    added = [await sessions.add(a_session(tenant=tenant)) for _ in range(number)]
    ended = [await sessions.revoke(session, Revocation(at, RevocationReason.LOGOUT)) for session in added]
    return [session for session in ended if session]


async def test_a_backlog_beyond_a_sweep_leaves_other_tenants_their_share(worker: InMemoryWorker) -> None:
    """One event that is younger than all those of another tenant is announced by the first sweep all the same."""
    await revoked(worker.sessions, "attacker", 3 * BATCH)
    [victims] = await revoked(worker.sessions, "victim", 1, NOW + timedelta(seconds=1))
    worker.clock.advance(GRACE + timedelta(seconds=1, milliseconds=1))
    assert (await Sweeper(worker.ports).announce()).number <= BATCH
    assert victims in worker.events.announced


async def test_a_tenant_alone_has_the_whole_sweep(worker: InMemoryWorker) -> None:
    await revoked(worker.sessions, "shop", 2 * BATCH)
    worker.clock.advance(GRACE + timedelta(milliseconds=1))
    assert await Sweeper(worker.ports).announce() == Unannounced(BATCH, GRACE.total_seconds() + 0.001)


async def test_tenants_beyond_a_sweep_take_turns(worker: InMemoryWorker) -> None:
    """Though those of the first sweep have as much left as before."""
    for number in range(BATCH + 1):
        await revoked(worker.sessions, f"tenant-{number}", 2)
    worker.clock.advance(GRACE + timedelta(milliseconds=1))
    sweeper = Sweeper(worker.ports)
    for _ in range(2):
        await sweeper.announce()
    assert len({session.tenant for session in worker.events.announced}) == BATCH + 1


def test_turns_go_round() -> None:
    """Also when the tenant whose turn was last has nothing left, and when there are none."""
    turns = TenantRotation()
    many = [f"{number:04}" for number in range(BATCH + 2)]
    assert turns.next(many) == many[:BATCH]
    assert turns.next(many) == many[BATCH:] + many[: BATCH - 2]
    assert turns.next(["0001", "9999"]) == ["9999", "0001"]
    assert turns.next([]) == []


async def test_the_age_of_the_backlog_is_not_that_of_what_was_refused(worker: InMemoryWorker) -> None:
    """A tenant whose queue refuses everything raises no alarm about the service."""
    [refused] = await revoked(worker.sessions, "attacker", 1)
    await worker.sessions.refused(refused, NOW, NOW)
    worker.clock.advance(timedelta(hours=1))
    assert await Sweeper(worker.ports).announce() == Unannounced(1, 0.0)
    await revoked(worker.sessions, "victim", 1, worker.clock.now() - timedelta(seconds=30))
    assert await Sweeper(worker.ports).announce() == Unannounced(2, 30.0)


class Hanging(FakeSessions):
    """Cannot end the sessions of one tenant's users: it fails, or takes for ever."""

    def __init__(self, tenant: str, trouble: Exception | None) -> None:
        super().__init__()
        self._tenant = tenant
        self._trouble = trouble

    async def revoke_older(self, ending: UserRevocation, now: datetime, limit: int) -> Sequence[Session]:
        if ending.tenant == self._tenant:
            if self._trouble:
                raise self._trouble
            await asyncio.Event().wait()
        return await super().revoke_older(ending, now, limit)


@pytest.mark.parametrize("trouble", [Unavailable(), ValueError("a fault of ours"), None])
async def test_endings_of_one_tenant_are_in_no_other_tenants_way(trouble: Exception | None) -> None:
    """However many fail, or take for ever: another tenant's ending, and its events, do not wait for them."""
    worker = InMemoryWorker(sessions=Hanging("attacker", trouble))
    for number in range(2 * BATCH):
        await _decided(worker, "attacker", f"user-{number}", NOW)
    victims = await worker.sessions.add(a_session(tenant="victim", user="ann"))
    await _decided(worker, "victim", "ann", NOW + timedelta(seconds=1))
    worker.clock.advance(GRACE + timedelta(seconds=1, milliseconds=1))
    finishing = asyncio.create_task(Sweeper(worker.ports).finish())
    async with asyncio.timeout(10):
        while victims.id not in worker.events.reasons:  # noqa: ASYNC110 - the sweep brings it about
            await asyncio.sleep(0)
    finishing.cancel()
    await asyncio.gather(finishing, return_exceptions=True)


async def _decided(worker: InMemoryWorker, tenant: str, user: str, at: datetime) -> None:
    await worker.users.add(a_user(id=user, tenant=tenant, login=user))
    await worker.users.decide_revocation(tenant, user, RevocationReason.ALL_REVOKED, IdempotencyKey(f"{tenant}'s", at))
