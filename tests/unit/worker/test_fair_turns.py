"""Fair turns on the password lane, and refusals when it is full."""

import asyncio
import sys
import threading
from collections import Counter

import pytest

from shared.contracts.errors import DeadlineExceeded, Overloaded
from worker.adapters.fair_turns import FairTurns
from worker.domain.call import Call
from worker.domain.ports import BEYOND_THREADS

THREADS = 2
AT_A_TIME = THREADS + BEYOND_THREADS
CAPACITY = 32
#: Generous limit for what happens at once, or never.
PATIENCE_SECONDS = 10
#: Groups that start and end together, and how often. Reading meanwhile failed within a tenth of this.
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

    async def send(self, group: str, times: int = 1, *, expires_in: float | None = None) -> list[asyncio.Task[None]]:
        sent = [asyncio.create_task(self._request(group, expires_in)) for _ in range(times)]
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

    async def _request(self, group: str, expires_in: float | None) -> None:
        expires_at = None if expires_in is None else asyncio.get_running_loop().time() + expires_in
        try:
            await self.turns.enter(group, Call("message", expires_at=expires_at))
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
@pytest.mark.parametrize(("storms", "share"), [(1, 2 / 3), (2, 1 / 3), (3, 1 / 4)])
async def test_tenant_beside_storms_gets_at_least_an_equal_share_of_the_hashes(
    threads: int, storms: int, share: float
) -> None:
    """A single storm sits out every other round. An attacker may also have a service, and logins without a token."""
    lane = Lane(threads, capacity=8 * CAPACITY)
    for number in range(storms):
        await lane.send(f"storm {number}", CAPACITY)
    await lane.send("shop", CAPACITY // 4)
    rounds = CAPACITY // 4
    for _ in range(rounds):
        await lane.finish_one()
    assert abs(lane.hashed["shop"] - rounds * share) <= threads
    await lane.finish_all()


async def shares(threads: int, in_flight: dict[str, int], turns: int = 600) -> dict[str, float]:
    """Return the share of the hashes of each group. Each keeps this many requests in flight."""
    lane = Lane(threads, capacity=1_000)
    for group, times in in_flight.items():
        await lane.send(group, times)
    for _ in range(turns):
        group, _ = lane.hashing[0]
        await lane.finish_one()
        await lane.send(group)
    total = lane.hashed.total()
    hashed = dict(lane.hashed)
    await lane.finish_all()
    return {group: hashed.get(group, 0) / total for group in in_flight}


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("tenants", [2, 5, 16])
async def test_quiet_tenants_leave_a_busier_one_its_share(threads: int, tenants: int) -> None:
    """A tenant with one request in flight is a new group each time; it must not always come first."""
    got = await shares(threads, {"shop": 3, **{f"quiet {number}": 1 for number in range(tenants)}})
    assert got["shop"] >= 0.9 / (tenants + 2)


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("others", [[4, 8], [3], [6], [4, 8, 8, 8], [1, 1]], ids=str)
async def test_tenant_with_a_peak_keeps_its_share_beside_lighter_ones(threads: int, others: list[int]) -> None:
    """An attacker cannot gain by holding a little less than its victim."""
    got = await shares(threads, {"shop": 8, **{f"other {number}": held for number, held in enumerate(others)}})
    assert got["shop"] >= 0.9 / (len(others) + 2)


@pytest.mark.parametrize("threads", [1, 2, 4])
async def test_tenants_with_nearly_equal_load_get_equal_hashes(threads: int) -> None:
    lane = Lane(threads, capacity=8 * CAPACITY)
    await lane.send("shop", CAPACITY)
    await lane.send("bank", CAPACITY - 2)
    for _ in range(CAPACITY):
        await lane.finish_one()
    assert abs(lane.hashed["shop"] - lane.hashed["bank"]) <= threads + 1
    await lane.finish_all()


async def test_storm_among_many_tenants_gets_an_equal_share() -> None:
    """With ten others, it gets one of twelve turns."""
    lane = Lane(threads=1, capacity=32 * CAPACITY)
    await lane.send("storm", CAPACITY)
    others = [f"tenant {number}" for number in range(10)]
    for group in others:
        await lane.send(group, 6)
    for _ in range(44):
        await lane.finish_one()
    assert 3 <= lane.hashed["storm"] <= 5
    await lane.finish_all()


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
        if turns_come and lane.hashing:  # of whoever is next, which may be this one
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
    leave.set()  # in this order: those leave, another enters, and then the one that waited cleans up
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
