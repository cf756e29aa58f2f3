"""The contract of `Hasher`, for the fake and argon2."""

from collections.abc import Callable, Iterator

import bcrypt
import pytest
from argon2 import PasswordHasher

from tests.fakes import FakeHasher
from worker.adapters.argon2_hasher import Argon2Hasher
from worker.domain.ports import Hasher

PASSWORD = "correct horse battery staple"

#: Returns a hasher with the parameters named "yesterday" or "today".
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


async def test_verify_accepts_only_the_hashed_password(hasher: Hasher) -> None:
    password_hash = await hasher.hash(PASSWORD)
    assert await hasher.verify(password_hash, PASSWORD)
    for wrong in (PASSWORD.upper(), PASSWORD[:-1], PASSWORD + " ", "", password_hash):
        assert not await hasher.verify(password_hash, wrong)


async def test_verify_without_a_hash_accepts_no_password(hasher: Hasher) -> None:
    for password in (PASSWORD, "", "None"):
        assert not await hasher.verify(None, password)


async def test_hashes_of_one_password_differ_and_do_not_contain_it(hasher: Hasher) -> None:
    first, second = await hasher.hash(PASSWORD), await hasher.hash(PASSWORD)
    assert first != second
    assert PASSWORD not in first
    assert await hasher.verify(first, PASSWORD)
    assert await hasher.verify(second, PASSWORD)


async def test_passwords_that_differ_in_character_256_are_distinct(hasher: Hasher) -> None:
    password_hash = await hasher.hash("🙂" * 255 + "a")
    assert await hasher.verify(password_hash, "🙂" * 255 + "a")
    assert not await hasher.verify(password_hash, "🙂" * 255 + "b")


async def test_hash_with_older_parameters_verifies_and_is_stale(make_hasher: MakeHasher) -> None:
    yesterday, today = make_hasher("yesterday"), make_hasher("today")
    old, new = await yesterday.hash(PASSWORD), await today.hash(PASSWORD)
    assert await today.verify(old, PASSWORD)
    assert today.is_stale(old)
    assert not today.is_stale(new)


def foreign_hash(kind: str, password: bytes) -> str:
    """Return a hash made by the libraries that other software uses."""
    if kind == "argon2id":
        return PasswordHasher(time_cost=1, memory_cost=64, parallelism=2, hash_len=24, salt_len=8).hash(password)
    return bcrypt.hashpw(password, bcrypt.gensalt(4)).decode().replace("$2b$", kind)


@pytest.fixture(params=["$2a$", "$2b$", "$2y$", "argon2id"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def real_hasher() -> Iterator[Hasher]:
    """The hasher of the service; the fake knows no formats."""
    hasher = Argon2Hasher(threads=1, memory_kib=8, passes=2)
    yield hasher
    hasher.close()


@pytest.mark.parametrize("password", [PASSWORD, "pässwört 漢字 🙂", "p" * 72, "a\0b"])
async def test_foreign_hash_accepts_only_its_password(real_hasher: Hasher, kind: str, password: str) -> None:
    password_hash = foreign_hash(kind, password.encode())
    assert await real_hasher.verify(password_hash, password)
    for wrong in (password.upper() + "!", password[:-1], "", password_hash):
        assert not await real_hasher.verify(password_hash, wrong)


async def test_foreign_hash_is_stale(real_hasher: Hasher, kind: str) -> None:
    assert real_hasher.is_stale(foreign_hash(kind, PASSWORD.encode()))


@pytest.mark.parametrize("password", ["x" * 100, "漢" * 30])
async def test_bcrypt_hash_of_72_bytes_accepts_the_longer_password(real_hasher: Hasher, password: str) -> None:
    """Other software cuts the password after 72 bytes, also within a character."""
    password_hash = foreign_hash("$2b$", password.encode()[:72])
    assert await real_hasher.verify(password_hash, password)
    assert await real_hasher.verify(password_hash, password + "!")
    assert not await real_hasher.verify(password_hash, password[:20])
