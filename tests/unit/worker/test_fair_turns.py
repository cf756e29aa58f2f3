"""Whose turn it is on the password lane, and who is refused for want of a place."""

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
PLACES = 32
#: For what happens at once, or not at all.
PATIENCE_SECONDS = 10
#: Tenants that come and go together, so often: reading meanwhile failed within a tenth of it.
LINES_AT_ONCE, ROUNDS = 200, 30


async def settle() -> None:
    """Lets everybody go as far as they can."""
    for _ in range(10):
        await asyncio.sleep(0)


class Lane:
    """Requests of several tenants, each of which hashes until it is told that it is done."""

    def __init__(self, threads: int = THREADS, places: int = PLACES) -> None:
        self.waits: list[float] = []
        self.turns = FairTurns(threads, places, on_waited=self.waits.append)
        self.hashing: list[tuple[str, asyncio.Event]] = []
        self.hashed: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self._tasks: list[asyncio.Task[None]] = []

    async def send(self, whose: str, times: int = 1, *, expires_in: float | None = None) -> list[asyncio.Task[None]]:
        sent = [asyncio.create_task(self._request(whose, expires_in)) for _ in range(times)]
        self._tasks += sent
        await settle()
        return sent

    async def finish_one(self, *, whose: str | None = None) -> None:
        """The hash that has taken longest is done, or that of this tenant."""
        one = next(each for each in self.hashing if whose in (None, each[0]))
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
        return sorted(whose for whose, _ in self.hashing)

    async def _request(self, whose: str, expires_in: float | None) -> None:
        expires_at = None if expires_in is None else asyncio.get_running_loop().time() + expires_in
        try:
            await self.turns.enter(whose, Call("message", expires_at=expires_at))
            async with self.turns.thread():
                done = asyncio.Event()
                self.hashing.append((whose, done))
                await done.wait()
                self.hashed[whose] += 1
        except (Overloaded, DeadlineExceeded) as refusal:
            self.outcomes[f"{whose} {refusal.code}"] += 1
        else:
            self.outcomes[f"{whose} ok"] += 1
        finally:
            self.turns.leave()


async def test_one_tenant_alone_uses_all_threads() -> None:
    """In the order in which its requests came, and nobody is refused while half of the places are free."""
    lane = Lane()
    await lane.send("shop", PLACES // 2)
    assert lane.on_threads == ["shop"] * THREADS
    assert lane.turns.waiting == PLACES // 2 - AT_A_TIME
    await lane.finish_all()
    assert lane.outcomes == {"shop ok": PLACES // 2}
    assert len(lane.waits) == PLACES // 2
    assert lane.turns.waiting == 0


async def test_a_tenant_has_half_of_the_places() -> None:
    """The rest of its storm is refused at once, and all others have places."""
    lane = Lane()
    await lane.send("storm", 3 * PLACES)
    assert lane.outcomes == {"storm overloaded": 3 * PLACES - PLACES // 2}
    await lane.send("shop", 5)
    await lane.send("bank", 5)
    await lane.finish_all()
    assert (lane.outcomes["shop ok"], lane.outcomes["bank ok"]) == (5, 5)
    await lane.send("storm", PLACES // 2)
    await lane.finish_all()
    assert lane.outcomes["storm ok"] == PLACES


async def test_several_storms_leave_places() -> None:
    """Each gets as many as are left."""
    lane = Lane()
    for number in range(3):
        await lane.send(f"storm {number}", 3 * PLACES)
    taken = 3 * 3 * PLACES - lane.outcomes.total()
    assert PLACES // 2 < taken < PLACES
    await lane.send("shop")
    assert "shop overloaded" not in lane.outcomes
    await lane.finish_all()
    assert lane.outcomes["shop ok"] == 1


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("storms", [1, 2, 3])
async def test_threads_in_a_storm_of_one_to_three_groups_go_to_the_lighter_tenant_three_times_of_four(
    threads: int, storms: int
) -> None:
    """An attacker has up to three groups: its tenant, its service, and logins of tenants over HTTP."""
    lane = Lane(threads, places=8 * PLACES)
    for number in range(storms):
        await lane.send(f"storm {number}", PLACES)
    await lane.send("shop", PLACES // 4)
    rounds = PLACES // 4
    for _ in range(rounds):
        await lane.finish_one()
    assert abs(lane.hashed["shop"] - rounds * 3 / 4) <= threads
    await lane.finish_all()


@pytest.mark.parametrize("threads", [1, 2, 4])
async def test_threads_wanted_by_nearly_equal_tenants_go_to_each_in_equal_parts(threads: int) -> None:
    lane = Lane(threads, places=8 * PLACES)
    await lane.send("shop", PLACES)
    await lane.send("bank", PLACES - 2)
    for _ in range(PLACES):
        await lane.finish_one()
    assert abs(lane.hashed["shop"] - lane.hashed["bank"]) <= threads
    await lane.finish_all()


async def test_a_storm_among_many_tenants_gets_its_turn_and_no_more() -> None:
    """One of four turns is a limit: with ten others, each gets one of eleven."""
    lane = Lane(threads=1, places=32 * PLACES)
    await lane.send("storm", PLACES)
    others = [f"tenant {number}" for number in range(10)]
    for whose in others:
        await lane.send(whose, 6)
    for _ in range(44):
        await lane.finish_one()
    assert 3 <= lane.hashed["storm"] <= 5
    await lane.finish_all()


@pytest.mark.parametrize("threads", [1, 2, 4])
async def test_a_request_waits_for_one_hash_of_a_storm(threads: int) -> None:
    """Whoever asks for little does not stand behind those who ask for much, time after time."""
    lane = Lane(threads)
    await lane.send("storm", PLACES)
    for number in range(1, 5):
        await lane.send("shop")
        waited = 0
        while "shop" not in lane.on_threads:
            await lane.finish_one(whose="storm")
            waited += 1
        assert waited == 1
        await lane.finish_one(whose="shop")
        assert lane.hashed["shop"] == number
    await lane.finish_all()


async def test_nobody_is_hashed_for_who_has_given_up() -> None:
    """A request whose time is up while it waits is not begun, and makes room."""
    lane = Lane()
    await lane.send("shop", AT_A_TIME)
    late = await lane.send("shop", 3, expires_in=0.05)
    in_time = await lane.send("shop", 1, expires_in=PATIENCE_SECONDS)
    await asyncio.wait(late, timeout=PATIENCE_SECONDS)
    assert lane.outcomes == {"shop deadline_exceeded": 3}
    await lane.finish_all()
    await asyncio.gather(*in_time)
    assert lane.outcomes["shop ok"] == AT_A_TIME + 1


async def test_nobody_is_hashed_who_gives_up_while_waiting_for_a_thread() -> None:
    """What has begun is finished: a second hash of the same request does not come too late."""
    turns = FairTurns(1, PLACES)
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
async def test_a_cancelled_request_leaves_its_turn_to_others(*, turns_come: bool) -> None:
    """Whatever it was waiting for: the others are all served, and as much is free as at first."""
    lane = Lane()
    sent = await lane.send("shop", PLACES // 2)
    other = await lane.send("bank", 3)
    for task in (sent[3], sent[5], sent[-1], other[1], sent[0]):
        if turns_come and lane.hashing:  # of whoever is next, which may be this one
            lane.hashing.pop(0)[1].set()
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
    await settle()
    await lane.finish_all()
    assert lane.outcomes.total() >= PLACES // 2 + 3 - 5
    lane.outcomes.clear()
    await lane.send("shop", PLACES)
    assert lane.on_threads == ["shop"] * THREADS
    assert lane.outcomes == {"shop overloaded": PLACES // 2}
    await lane.finish_all()
    assert lane.outcomes["shop ok"] == PLACES // 2


def test_prometheus_reads_how_many_wait_while_lines_come_and_go() -> None:
    """It asks from a thread of its own, and one error would fail the whole scrape."""
    turns = FairTurns(1, 512)

    async def request(whose: str) -> None:
        await turns.enter(whose, Call("message"))
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


async def test_a_request_that_is_cancelled_late_removes_no_newer_line() -> None:
    """It was the last of a line that all others had left, and its tenant has begun another: there it stays, alone."""
    turns, leave, leave_late = FairTurns(THREADS, PLACES), asyncio.Event(), asyncio.Event()

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


async def test_what_has_not_entered_is_hashed_all_the_same() -> None:
    """As a line of its own."""
    lane = Lane()
    async with lane.turns.thread():
        lane.turns.leave()
    await lane.send("shop", AT_A_TIME)
    await lane.finish_all()
    assert lane.outcomes == {"shop ok": AT_A_TIME}
