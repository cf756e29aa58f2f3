"""What every `Hasher` must do."""

from collections.abc import Callable, Iterator

import pytest

from tests.fakes import FakeHasher
from worker.adapters.argon2_hasher import Argon2Hasher
from worker.ports import Hasher

PASSWORD = "correct horse battery staple"

#: A hasher with the parameters of yesterday or of today.
MakeHasher = Callable[[str], Hasher]


@pytest.fixture(params=["fake", "argon2"])
def make_hasher(request: pytest.FixtureRequest) -> Iterator[MakeHasher]:
    if request.param == "fake":
        yield FakeHasher
        return
    passes = {"yesterday": 1, "today": 2}
    made: list[Argon2Hasher] = []

    def make(parameters: str) -> Hasher:
        made.append(Argon2Hasher(threads=1, memory_kib=8, passes=passes[parameters]))
        return made[-1]

    yield make
    for hasher in made:
        hasher.close()


@pytest.fixture
def hasher(make_hasher: MakeHasher) -> Hasher:
    return make_hasher("today")


async def test_a_password_is_verified_against_its_hash(hasher: Hasher) -> None:
    """The password itself passes, and whatever differs from it does not."""
    password_hash = await hasher.hash(PASSWORD)
    assert await hasher.verify(password_hash, PASSWORD)
    for wrong in (PASSWORD.upper(), PASSWORD[:-1], PASSWORD + " ", "", password_hash):
        assert not await hasher.verify(password_hash, wrong)


async def test_without_a_hash_no_password_is_right(hasher: Hasher) -> None:
    """An unknown account has no password, not even an empty one."""
    for password in (PASSWORD, "", "None"):
        assert not await hasher.verify(None, password)


async def test_a_hash_says_nothing_about_its_password(hasher: Hasher) -> None:
    """Two hashes of one password differ, and neither holds it."""
    first, second = await hasher.hash(PASSWORD), await hasher.hash(PASSWORD)
    assert first != second
    assert PASSWORD not in first
    assert await hasher.verify(first, PASSWORD)
    assert await hasher.verify(second, PASSWORD)


async def test_passwords_count_to_their_last_character(hasher: Hasher) -> None:
    """No password is cut: 256 characters that differ in the last are two passwords."""
    password_hash = await hasher.hash("🙂" * 255 + "a")
    assert await hasher.verify(password_hash, "🙂" * 255 + "a")
    assert not await hasher.verify(password_hash, "🙂" * 255 + "b")


async def test_a_hash_of_other_parameters_is_stale(make_hasher: MakeHasher) -> None:
    """What was hashed with yesterday's parameters is still verified, and known to be stale."""
    yesterday, today = make_hasher("yesterday"), make_hasher("today")
    old, new = await yesterday.hash(PASSWORD), await today.hash(PASSWORD)
    assert await today.verify(old, PASSWORD)
    assert today.is_stale(old)
    assert not today.is_stale(new)
