"""Behaviour of `Argon2Hasher` beyond the contract of `tests/contract/test_hasher.py`."""

import asyncio
import hmac
import time
from collections.abc import Callable, Iterator

import bcrypt
import pytest
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError

from worker.adapters.argon2_hasher import Argon2Hasher

#: About 30 ms, much longer than the rest of a verification.
MEMORY_KIB, PASSES = 8_192, 8


@pytest.fixture
def hasher() -> Iterator[Argon2Hasher]:
    hasher = Argon2Hasher(threads=2, memory_kib=MEMORY_KIB, passes=PASSES)
    yield hasher
    hasher.close()


async def test_hash_is_argon2id_in_phc_format_with_the_configured_parameters(hasher: Argon2Hasher) -> None:
    """Every argon2 library reads this format."""
    assert (await hasher.hash("password")).startswith(f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1$")


async def test_verification_without_a_hash_costs_the_same_work(hasher: Argon2Hasher) -> None:
    """Otherwise the time of a login would reveal whether the account exists."""
    password_hash = await hasher.hash("password")

    async def seconds_of_work(stored: str | None) -> float:
        before = time.process_time()
        await hasher.verify(stored, "wrong")
        return time.process_time() - before

    known = min([await seconds_of_work(password_hash) for _ in range(5)])
    unknown = min([await seconds_of_work(None) for _ in range(5)])
    assert 1 / 3 < unknown / known < 3


async def test_verification_of_a_hash_with_old_parameters_costs_the_same_work(hasher: Argon2Hasher) -> None:
    """This holds for wrong passwords, once the hasher has verified one old hash."""
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


async def test_verification_of_a_bcrypt_hash_costs_the_same_work(hasher: Argon2Hasher) -> None:
    """This holds for wrong passwords of all kinds of hashes, once the hasher has verified a bcrypt hash."""
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
async def test_hashing_does_not_block_the_event_loop(hasher: Argon2Hasher, kind: str) -> None:
    made_elsewhere = bcrypt.hashpw(b"password", bcrypt.gensalt(8)).decode()
    doing = hasher.hash("password") if kind == "argon2id" else hasher.verify(made_elsewhere, "password")
    hashing = asyncio.create_task(doing)
    turns = 0
    while not hashing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 1  # it would be 1 if the loop computed the hash


async def test_malformed_hash_raises_an_error(hasher: Argon2Hasher) -> None:
    """It is no wrong password: an operator has to investigate."""
    with pytest.raises(InvalidHashError):
        await hasher.verify("$2b$12$not-a-hash", "password")


PEPPERS = {"new": b"n" * 32, "old": b"o" * 32}


@pytest.fixture
def peppered() -> Iterator[Callable[..., Argon2Hasher]]:
    """Return a factory of cheap hashers with these peppers."""
    made: list[Argon2Hasher] = []

    def make(*pepper_ids: str) -> Argon2Hasher:
        peppers = {pepper_id: PEPPERS[pepper_id] for pepper_id in pepper_ids}
        made.append(Argon2Hasher(threads=1, memory_kib=8, passes=1, peppers=peppers))
        return made[-1]

    yield make
    for hasher in made:
        hasher.close()


async def test_hash_with_a_pepper_starts_with_its_id(peppered: Callable[..., Argon2Hasher]) -> None:
    """Without a pepper, argon2's own format is unchanged."""
    assert (await peppered("old").hash("password")).startswith("old$argon2id$v=19$")
    assert (await peppered().hash("password")).startswith("$argon2id$v=19$")


async def test_verification_without_the_pepper_fails_and_is_logged(
    peppered: Callable[..., Argon2Hasher], caplog: pytest.LogCaptureFixture
) -> None:
    """This protects a stolen database. A worker that lost its pepper refuses the right password and logs the reason."""
    password_hash = await peppered("old").hash("password")
    assert not await peppered().verify(password_hash.removeprefix("old"), "password")
    assert not await peppered().verify(f"new{password_hash.removeprefix('old')}", "password")
    assert not await peppered("new").verify(password_hash, "password")
    assert "pepper is not configured" in caplog.text
    assert "password$" not in caplog.text


async def test_pepper_is_applied_as_hmac_sha256(peppered: Callable[..., Argon2Hasher]) -> None:
    """Another implementation can verify such a hash."""
    password_hash = await peppered("old").hash("password")
    digest = hmac.digest(PEPPERS["old"], b"password", "sha256")
    assert PasswordHasher().verify(password_hash.removeprefix("old"), digest)


async def test_hashes_of_old_peppers_verify_and_are_stale(peppered: Callable[..., Argon2Hasher]) -> None:
    """Logins replace stale hashes; only those of the first pepper are current."""
    hashes = [await peppered(*ids).hash("password") for ids in ((), ("old",), ("new",))]
    hasher = peppered("new", "old")
    assert [await hasher.verify(each, "password") for each in hashes] == [True, True, True]
    assert [await hasher.verify(each, "wrong") for each in hashes] == [False, False, False]
    assert [hasher.is_stale(each) for each in hashes] == [True, True, False]
    assert not hasher.is_stale(await hasher.hash("password"))


async def test_imported_bcrypt_hash_verifies_without_a_pepper_and_is_stale(
    peppered: Callable[..., Argon2Hasher],
) -> None:
    """The hash that replaces it has the pepper. A bcrypt hash with a pepper is malformed."""
    made_elsewhere = bcrypt.hashpw(b"password", bcrypt.gensalt(4)).decode()
    hasher = peppered("new", "old")
    assert await hasher.verify(made_elsewhere, "password")
    assert not await hasher.verify(made_elsewhere, "wrong")
    assert hasher.is_stale(made_elsewhere)
    assert (await hasher.hash("password")).startswith("new$argon2id$v=19$")
    with pytest.raises(InvalidHashError):
        await hasher.verify(f"new{made_elsewhere}", "password")


async def test_verification_without_a_hash_fails_with_a_pepper(peppered: Callable[..., Argon2Hasher]) -> None:
    assert not await peppered("new").verify(None, "password")


async def test_hashes_in_flight_and_their_durations_are_reported() -> None:
    """Waiting hashes count as in flight, but the duration excludes the wait."""
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
