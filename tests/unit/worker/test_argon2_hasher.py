"""What is particular to `Argon2Hasher`; what every hasher does is in `tests/contract/test_hasher.py`."""

import asyncio
import hmac
import time
from collections.abc import Callable, Iterator

import bcrypt
import pytest
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError

from worker.adapters.argon2_hasher import Argon2Hasher

#: Some 30 ms: long beside everything else that a verification does.
MEMORY_KIB, PASSES = 8_192, 8


@pytest.fixture
def hasher() -> Iterator[Argon2Hasher]:
    hasher = Argon2Hasher(threads=2, memory_kib=MEMORY_KIB, passes=PASSES)
    yield hasher
    hasher.close()


async def test_hashes_say_how_they_were_made(hasher: Argon2Hasher) -> None:
    """Argon2id with the parameters asked for, in the PHC format that every argon2 library reads."""
    assert (await hasher.hash("password")).startswith(f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1$")


async def test_an_unknown_account_costs_the_same_work(hasher: Argon2Hasher) -> None:
    """Without a hash the processor computes as long as with one."""
    password_hash = await hasher.hash("password")

    async def seconds_of_work(stored: str | None) -> float:
        before = time.process_time()
        await hasher.verify(stored, "wrong")
        return time.process_time() - before

    known = min([await seconds_of_work(password_hash) for _ in range(5)])
    unknown = min([await seconds_of_work(None) for _ in range(5)])
    assert 1 / 3 < unknown / known < 3


async def test_a_hash_of_former_parameters_costs_the_same_work(hasher: Argon2Hasher) -> None:
    """Once one was met, wrong passwords cost as long for it, for a hash of today and for none; right ones less."""
    former = Argon2Hasher(threads=1, memory_kib=MEMORY_KIB, passes=PASSES // 2)
    stored = {"former": await former.hash("password"), "today": await hasher.hash("password"), "none": None}
    former.close()
    assert await hasher.verify(stored["former"], "password")
    seconds = dict.fromkeys(stored, float("inf"))
    for _ in range(7):
        for name, password_hash in stored.items():
            before = time.process_time()
            assert not await hasher.verify(password_hash, "wrong")
            seconds[name] = min(seconds[name], time.process_time() - before)
    assert max(seconds.values()) < 1.6 * min(seconds.values())


async def test_a_bcrypt_hash_costs_the_same_work(hasher: Argon2Hasher) -> None:
    """Once one was met, wrong passwords cost as long for it, for one of another cost, for one of today and for none."""
    stored = {cost: bcrypt.hashpw(b"password", bcrypt.gensalt(cost)).decode() for cost in (9, 10)}
    for made_elsewhere in stored.values():
        assert await hasher.verify(made_elsewhere, "password")
    kinds = {"bcrypt": stored[9], "dearer": stored[10], "today": await hasher.hash("password"), "none": None}
    seconds = dict.fromkeys(kinds, float("inf"))
    for _ in range(7):
        for name, password_hash in kinds.items():
            before = time.process_time()
            assert not await hasher.verify(password_hash, "wrong")
            seconds[name] = min(seconds[name], time.process_time() - before)
    assert max(seconds.values()) < 1.3 * min(seconds.values())


@pytest.mark.parametrize("kind", ["argon2id", "bcrypt"])
async def test_the_event_loop_goes_on_meanwhile(hasher: Argon2Hasher, kind: str) -> None:
    """While a password is hashed or checked, other work of the process is done."""
    made_elsewhere = bcrypt.hashpw(b"password", bcrypt.gensalt(8)).decode()
    doing = hasher.hash("password") if kind == "argon2id" else hasher.verify(made_elsewhere, "password")
    hashing = asyncio.create_task(doing)
    turns = 0
    while not hashing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 1  # one, were it done on the loop


async def test_what_is_no_hash_is_a_fault(hasher: Argon2Hasher) -> None:
    """A stored text that is no hash is not taken for a wrong password: somebody has to look at it."""
    with pytest.raises(InvalidHashError):
        await hasher.verify("$2b$12$not-a-hash", "password")


PEPPERS = {"new": b"n" * 32, "old": b"o" * 32}


@pytest.fixture
def peppered() -> Iterator[Callable[..., Argon2Hasher]]:
    """Makes cheap hashers with these of the peppers."""
    made: list[Argon2Hasher] = []

    def make(*pepper_ids: str) -> Argon2Hasher:
        peppers = {pepper_id: PEPPERS[pepper_id] for pepper_id in pepper_ids}
        made.append(Argon2Hasher(threads=1, memory_kib=8, passes=1, peppers=peppers))
        return made[-1]

    yield make
    for hasher in made:
        hasher.close()


async def test_a_hash_names_its_pepper(peppered: Callable[..., Argon2Hasher]) -> None:
    """Before argon2's own format, which stays as it is without one."""
    assert (await peppered("old").hash("password")).startswith("old$argon2id$v=19$")
    assert (await peppered().hash("password")).startswith("$argon2id$v=19$")


async def test_without_its_pepper_a_hash_is_of_no_use(
    peppered: Callable[..., Argon2Hasher], caplog: pytest.LogCaptureFixture
) -> None:
    """Not to who has the database, and not to a worker that has lost it: then the right password is wrong, and the
    log says why."""
    password_hash = await peppered("old").hash("password")
    assert not await peppered().verify(password_hash.removeprefix("old"), "password")
    assert not await peppered().verify(f"new{password_hash.removeprefix('old')}", "password")
    assert not await peppered("new").verify(password_hash, "password")
    assert "pepper is not configured" in caplog.text
    assert "password$" not in caplog.text


async def test_a_pepper_goes_through_hmac(peppered: Callable[..., Argon2Hasher]) -> None:
    """argon2 is given HMAC-SHA-256 of the password: another implementation can verify it."""
    password_hash = await peppered("old").hash("password")
    digest = hmac.digest(PEPPERS["old"], b"password", "sha256")
    assert PasswordHasher().verify(password_hash.removeprefix("old"), digest)


async def test_peppers_rotate(peppered: Callable[..., Argon2Hasher]) -> None:
    """Hashes of all peppers and of none verify; but those of the first are stale, so that logins replace them."""
    hashes = [await peppered(*ids).hash("password") for ids in ((), ("old",), ("new",))]
    hasher = peppered("new", "old")
    assert [await hasher.verify(each, "password") for each in hashes] == [True, True, True]
    assert [await hasher.verify(each, "wrong") for each in hashes] == [False, False, False]
    assert [hasher.is_stale(each) for each in hashes] == [True, True, False]
    assert not hasher.is_stale(await hasher.hash("password"))


async def test_a_bcrypt_hash_has_no_pepper(peppered: Callable[..., Argon2Hasher]) -> None:
    """It verifies as it came, and is stale; what a login then makes has the pepper. With a pepper it is none."""
    made_elsewhere = bcrypt.hashpw(b"password", bcrypt.gensalt(4)).decode()
    hasher = peppered("new", "old")
    assert await hasher.verify(made_elsewhere, "password")
    assert not await hasher.verify(made_elsewhere, "wrong")
    assert hasher.is_stale(made_elsewhere)
    assert (await hasher.hash("password")).startswith("new$argon2id$v=19$")
    with pytest.raises(InvalidHashError):
        await hasher.verify(f"new{made_elsewhere}", "password")


async def test_an_unknown_account_has_no_password_with_a_pepper_either(peppered: Callable[..., Argon2Hasher]) -> None:
    """No hash, no right password."""
    assert not await peppered("new").verify(None, "password")


async def test_it_tells_how_busy_it_is_and_how_long_each_hash_took() -> None:
    """What waits for a thread is under way too; the wait is not part of the time."""
    seconds: list[float] = []
    hasher = Argon2Hasher(threads=1, memory_kib=MEMORY_KIB, passes=PASSES, on_hashed=seconds.append)
    started = time.perf_counter()
    hashing = [asyncio.create_task(hasher.hash("password")) for _ in range(3)]
    await asyncio.sleep(0)
    assert hasher.in_flight == 3
    await asyncio.gather(*hashing)
    assert hasher.in_flight == 0
    assert len(seconds) == 3
    assert sum(seconds) <= time.perf_counter() - started
    hasher.close()
