"""What every `Hasher` must do."""

from collections.abc import Callable, Iterator

import bcrypt
import pytest
from argon2 import PasswordHasher

from tests.fakes import FakeHasher
from worker.adapters.argon2_hasher import Argon2Hasher
from worker.domain.ports import Hasher

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


def made_elsewhere(kind: str, password: bytes) -> str:
    """As other software stores it: made by the libraries, not by us."""
    if kind == "argon2id":
        return PasswordHasher(time_cost=1, memory_cost=64, parallelism=2, hash_len=24, salt_len=8).hash(password)
    return bcrypt.hashpw(password, bcrypt.gensalt(4)).decode().replace("$2b$", kind)


@pytest.fixture(params=["$2a$", "$2b$", "$2y$", "argon2id"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def real_hasher() -> Iterator[Hasher]:
    """That of the service: fakes know no formats."""
    hasher = Argon2Hasher(threads=1, memory_kib=8, passes=2)
    yield hasher
    hasher.close()


@pytest.mark.parametrize("password", [PASSWORD, "pässwört 漢字 🙂", "p" * 72, "a\0b"])
async def test_a_hash_made_elsewhere_is_verified(real_hasher: Hasher, kind: str, password: str) -> None:
    """The password itself passes, and no other."""
    password_hash = made_elsewhere(kind, password.encode())
    assert await real_hasher.verify(password_hash, password)
    for wrong in (password.upper() + "!", password[:-1], "", password_hash):
        assert not await real_hasher.verify(password_hash, wrong)


async def test_a_hash_made_elsewhere_is_stale(real_hasher: Hasher, kind: str) -> None:
    """So the login at which it was right makes one of ours of it."""
    assert real_hasher.is_stale(made_elsewhere(kind, PASSWORD.encode()))


@pytest.mark.parametrize("password", ["x" * 100, "漢" * 30])
async def test_bcrypt_looks_at_72_bytes(real_hasher: Hasher, password: str) -> None:
    """Who made the hash gave it no more of the password, cut in the middle of a character or not."""
    password_hash = made_elsewhere("$2b$", password.encode()[:72])
    assert await real_hasher.verify(password_hash, password)
    assert await real_hasher.verify(password_hash, password + "!")
    assert not await real_hasher.verify(password_hash, password[:20])
