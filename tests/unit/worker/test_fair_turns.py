"""Fair turns on the password lane, and refusals when it is full."""

import asyncio
import sys
import threading
from collections import Counter

import pytest

from shared.contracts.errors import DeadlineExceeded, Overloaded
from worker.adapters.fair_turns import MAX_SESSIONS, FairTurns
from worker.domain.call import Call
from worker.domain.ports import BEYOND_THREADS

THREADS = 2
AT_A_TIME = THREADS + BEYOND_THREADS
CAPACITY = 32
#: Bounds how long a broken test waits.
PATIENCE_SECONDS = 10
#: Simultaneous tenants and rounds; unsynchronized reads failed within a tenth of the rounds.
LINES_AT_ONCE, ROUNDS = 200, 30


async def settle() -> None:
    """Let all tasks run until they wait."""
    for _ in range(10):
        await asyncio.sleep(0)


class Lane:
    """Requests of several tenants, each of which hashes until a test finishes it."""

    def __init__(self, threads: int = THREADS, capacity: int = CAPACITY) -> None:
        self.waits: list[float] = []
        self.turns = FairTurns(threads, capacity, on_waited=self.waits.append)
        self.hashing: list[tuple[str, asyncio.Event]] = []
        self.hashed: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self._tasks: list[asyncio.Task[None]] = []

    async def send(
        self, group: str, times: int = 1, *, expires_in: float | None = None, service: str | None = None
    ) -> list[asyncio.Task[None]]:
        sent = [asyncio.create_task(self._request(group, expires_in, service)) for _ in range(times)]
        self._tasks += sent
        await settle()
        return sent

    async def finish_one(self, *, group: str | None = None) -> None:
        """Finish the oldest hash, or the oldest hash of this tenant."""
        one = next(each for each in self.hashing if group in (None, each[0]))
        self.hashing.remove(one)
        one[1].set()
        await settle()

    async def finish_all(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.hashing:
                await self.finish_one()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def on_threads(self) -> list[str]:
        return sorted(group for group, _ in self.hashing)

    async def prove(self, tenant: str, service: str) -> None:
        """Make a request of the service with that tenant's token, and finish it."""
        await self.turns.enter(tenant, Call("message", service=service), f"session of {tenant}")
        self.turns.leave()

    async def _request(self, group: str, expires_in: float | None, service: str | None) -> None:
        expires_at = None if expires_in is None else asyncio.get_running_loop().time() + expires_in
        try:
            await self.turns.enter(group, Call("message", expires_at=expires_at, service=service))
            async with self.turns.thread():
                done = asyncio.Event()
                self.hashing.append((group, done))
                await done.wait()
                self.hashed[group] += 1
        except (Overloaded, DeadlineExceeded) as refusal:
            self.outcomes[f"{group} {refusal.code}"] += 1
        else:
            self.outcomes[f"{group} ok"] += 1
        finally:
            self.turns.leave()


async def test_single_tenant_uses_all_threads_in_order() -> None:
    """No request is refused while half of the capacity is free."""
    lane = Lane()
    await lane.send("shop", CAPACITY // 2)
    assert lane.on_threads == ["shop"] * THREADS
    assert lane.turns.waiting == CAPACITY // 2 - AT_A_TIME
    await lane.finish_all()
    assert lane.outcomes == {"shop ok": CAPACITY // 2}
    assert len(lane.waits) == CAPACITY // 2
    assert lane.turns.waiting == 0


async def test_tenant_over_half_of_the_capacity_is_refused() -> None:
    """Requests of other tenants still find capacity."""
    lane = Lane()
    await lane.send("storm", 3 * CAPACITY)
    assert lane.outcomes == {"storm overloaded": 3 * CAPACITY - CAPACITY // 2}
    await lane.send("shop", 5)
    await lane.send("bank", 5)
    await lane.finish_all()
    assert (lane.outcomes["shop ok"], lane.outcomes["bank ok"]) == (5, 5)
    await lane.send("storm", CAPACITY // 2)
    await lane.finish_all()
    assert lane.outcomes["storm ok"] == CAPACITY


async def test_request_of_a_full_tenant_is_refused_early_by_its_session() -> None:
    """The session is not verified yet; the refusal ends when the tenant has capacity again."""
    lane = Lane()
    await lane.turns.enter("storm", Call("message"), "session")
    lane.turns.leave()
    lane.turns.refuse_early("session")
    await lane.send("storm", CAPACITY)
    with pytest.raises(Overloaded):
        lane.turns.refuse_early("session")
    for other in ("another", "", None):
        lane.turns.refuse_early(other)
    await lane.finish_all()
    lane.turns.refuse_early("session")


async def test_early_refusal_keeps_only_the_latest_sessions() -> None:
    lane = Lane()
    for number in range(MAX_SESSIONS + 1):
        await lane.turns.enter("storm", Call("message"), f"session {number}")
        lane.turns.leave()
    await lane.send("storm", CAPACITY)
    lane.turns.refuse_early("session 0")
    with pytest.raises(Overloaded):
        lane.turns.refuse_early("session 1")
    await lane.finish_all()


async def test_several_storms_leave_capacity_for_another_tenant() -> None:
    """Each gets half of what the others leave."""
    lane = Lane()
    for number in range(3):
        await lane.send(f"storm {number}", 3 * CAPACITY)
    taken = 3 * 3 * CAPACITY - lane.outcomes.total()
    assert CAPACITY // 2 < taken < CAPACITY
    await lane.send("shop")
    assert "shop overloaded" not in lane.outcomes
    await lane.finish_all()
    assert lane.outcomes["shop ok"] == 1


@pytest.mark.parametrize("threads", [1, 2, 4])
async def test_second_tenant_gets_half_of_the_hashes(threads: int) -> None:
    """This holds while both tenants have waiting requests."""
    lane = Lane(threads)
    await lane.send("storm", CAPACITY)
    await lane.send("shop", 3 * threads)
    for _ in range(4 * threads):
        await lane.finish_one()
    assert abs(lane.hashed["shop"] - lane.hashed["storm"]) <= threads
    await lane.finish_all()


@pytest.mark.parametrize("threads", [1, 2, 4])
async def test_tenant_beside_a_storm_in_two_groups_gets_a_third_of_the_hashes(threads: int) -> None:
    """The storm's tenant token and its service share one group; its logins without a token are in another."""
    lane = Lane(threads, capacity=4 * CAPACITY)
    await lane.prove("storm", service="its")
    await lane.send("storm", CAPACITY)
    await lane.send("service its", CAPACITY, service="its")
    await lane.send("clients of edges", CAPACITY)
    await lane.send("shop", 5 * threads)
    for _ in range(9 * threads):
        await lane.finish_one()
    others = lane.hashed.total() - lane.hashed["shop"]
    assert abs(2 * lane.hashed["shop"] - others) <= 2 * threads
    await lane.finish_all()


async def test_service_shares_the_group_of_its_last_verified_tenant() -> None:
    """Together they get the capacity of one tenant. A service without a verified tenant has its own group."""
    lane = Lane()
    await lane.prove("shop", service="its")
    await lane.prove("storm", service="its")
    await lane.send("storm", CAPACITY)
    await lane.send("service its", 1, service="its")
    assert lane.outcomes == {"storm overloaded": CAPACITY // 2, "service its overloaded": 1}
    for group, service in (("shop", None), ("service another", "another"), ("clients of edges", None)):
        await lane.send(group, service=service)
    await lane.finish_all()
    assert lane.outcomes["shop ok"] == lane.outcomes["service another ok"] == lane.outcomes["clients of edges ok"] == 1


@pytest.mark.parametrize("threads", [1, 2, 4])
async def test_request_beside_a_storm_waits_for_one_hash(threads: int) -> None:
    """The wait stays the same from request to request."""
    lane = Lane(threads)
    await lane.send("storm", CAPACITY)
    for number in range(1, 5):
        await lane.send("shop")
        waited = 0
        while "shop" not in lane.on_threads:
            await lane.finish_one(group="storm")
            waited += 1
        assert waited == 1
        await lane.finish_one(group="shop")
        assert lane.hashed["shop"] == number
    await lane.finish_all()


async def test_refusal_carries_the_recent_wait_as_retry_after() -> None:
    """The value is the wait of the latest served requests, bounded by the caller's deadline."""
    lane = Lane(threads=1, capacity=16)
    await lane.send("storm", 8)
    await asyncio.sleep(1.1)
    await lane.finish_one()
    await lane.send("storm", 1)
    with pytest.raises(Overloaded) as refusal:
        await lane.turns.enter("storm", Call("message"))
    assert refusal.value.retry_after_seconds >= 2
    soon = asyncio.get_running_loop().time() + 1
    with pytest.raises(Overloaded) as refusal:
        await lane.turns.enter("storm", Call("message", expires_at=soon))
    assert refusal.value.retry_after_seconds == 1
    await lane.finish_all()


async def test_request_that_expires_while_waiting_is_not_hashed() -> None:
    """It frees its capacity."""
    lane = Lane()
    await lane.send("shop", AT_A_TIME)
    late = await lane.send("shop", 3, expires_in=0.05)
    in_time = await lane.send("shop", 1, expires_in=PATIENCE_SECONDS)
    await asyncio.wait(late, timeout=PATIENCE_SECONDS)
    assert lane.outcomes == {"shop deadline_exceeded": 3}
    await lane.finish_all()
    await asyncio.gather(*in_time)
    assert lane.outcomes["shop ok"] == AT_A_TIME + 1


async def test_request_that_expires_before_its_thread_is_not_hashed() -> None:
    """A request that has started may still compute a second hash after its deadline."""
    turns = FairTurns(1, CAPACITY)
    soon = asyncio.get_running_loop().time() + 0.05
    await turns.enter("shop", Call("message", expires_at=soon))
    async with turns.thread():
        await asyncio.sleep(0.1)
    async with turns.thread():
        pass
    turns.leave()

    lane = Lane(threads=1)
    await lane.send("shop")
    await lane.send("shop", expires_in=0.05)
    await asyncio.sleep(0.1)
    await lane.finish_all()
    assert lane.outcomes == {"shop ok": 1, "shop deadline_exceeded": 1}
    assert lane.hashed == {"shop": 1}


@pytest.mark.parametrize("turns_come", [False, True])
async def test_cancelled_request_passes_its_turn_to_the_next(*, turns_come: bool) -> None:
    """All others are served, and the full capacity is free afterwards."""
    lane = Lane()
    sent = await lane.send("shop", CAPACITY // 2)
    other = await lane.send("bank", 3)
    for task in (sent[3], sent[5], sent[-1], other[1], sent[0]):
        if turns_come and lane.hashing:  # the next in turn may be the cancelled one
            lane.hashing.pop(0)[1].set()
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
    await settle()
    await lane.finish_all()
    assert lane.outcomes.total() >= CAPACITY // 2 + 3 - 5
    lane.outcomes.clear()
    await lane.send("shop", CAPACITY)
    assert lane.on_threads == ["shop"] * THREADS
    assert lane.outcomes == {"shop overloaded": CAPACITY // 2}
    await lane.finish_all()
    assert lane.outcomes["shop ok"] == CAPACITY // 2


def test_waiting_count_is_readable_from_another_thread() -> None:
    """Prometheus scrapes in its own thread, and one error would fail the whole scrape."""
    turns = FairTurns(1, 512)

    async def request(group: str) -> None:
        await turns.enter(group, Call("message"))
        await asyncio.sleep(0)
        turns.leave()

    async def come_and_go() -> None:
        for _ in range(ROUNDS):
            await asyncio.gather(*(request(f"tenant {number}") for number in range(LINES_AT_ONCE)))

    loop = threading.Thread(target=lambda: asyncio.run(come_and_go()))
    switch_interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        loop.start()
        while loop.is_alive():
            assert turns.waiting == 0
    finally:
        loop.join()
        sys.setswitchinterval(switch_interval)


async def test_late_cancellation_does_not_remove_a_newer_group() -> None:
    """The cancelled request was the last of its tenant's group, and the tenant has started a new group since."""
    turns, leave, leave_late = FairTurns(THREADS, CAPACITY), asyncio.Event(), asyncio.Event()

    async def hold(until: asyncio.Event) -> None:
        await turns.enter("shop", Call("message"))
        await until.wait()
        turns.leave()

    tasks = [asyncio.create_task(hold(leave)) for _ in range(AT_A_TIME + 1)]
    await settle()
    leave.set()  # the order: these leave, another enters, then the cancelled one cleans up
    tasks.append(asyncio.create_task(hold(leave_late)))
    tasks[AT_A_TIME].cancel()
    await settle()
    tasks += [asyncio.create_task(hold(leave_late)) for _ in range(AT_A_TIME)]
    await settle()
    assert turns.waiting == 1
    leave_late.set()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_thread_without_entering_is_granted() -> None:
    """It counts as a group of its own."""
    lane = Lane()
    async with lane.turns.thread():
        lane.turns.leave()
    await lane.send("shop", AT_A_TIME)
    await lane.finish_all()
    assert lane.outcomes == {"shop ok": AT_A_TIME}
