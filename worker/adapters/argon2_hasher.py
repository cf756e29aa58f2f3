"""Password hashing with argon2id (RFC 9106) on separate threads, with an optional pepper.

Imported bcrypt hashes are verified too.
"""

import asyncio
import contextlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import VerifyMismatchError

from worker.adapters import bcrypt_hashes

log = logging.getLogger(__name__)

#: One lane per hash: hashing two requests on two cores is faster than hashing each on both.
PARALLELISM = 1
#: Hash profiles that are kept apart: argon2id parameters, bcrypt costs. Each profile adds one hash
#: to each wrong password.
MAX_PROFILES = 4
#: The id that stands for no pepper: the stored hash then begins with the `$` of argon2's own
#: format.
NO_PEPPER = ""

ResultT = TypeVar("ResultT")


class Argon2Hasher:
    """Implements the port `Hasher`. argon2 and bcrypt release the GIL, so threads are enough to use the cores.

    Each thread uses `memory_kib` of memory while it hashes. The number of threads limits concurrent
    hashes.

    A pepper is a secret outside the database, without which stolen hashes cannot be attacked. With
    a pepper, argon2 hashes the HMAC-SHA-256 of the password under it, and the stored text is `<id
    of the pepper>$argon2id$…`. An imported bcrypt hash is stored unchanged, without a pepper, and
    is always stale.
    """

    def __init__(
        self,
        threads: int,
        memory_kib: int,
        passes: int,
        peppers: Mapping[str, bytes] | None = None,
        *,
        on_hashed: Callable[[float], None] = lambda _: None,
        thread: Callable[[], contextlib.AbstractAsyncContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        """New hashes use the first pepper. Hashes under any of the peppers, and without one, are verified.

        Computes one hash, the dummy for unknown accounts. `on_hashed` is called with the seconds
        that each hash or verification took, on the thread that made it. `thread` is a context
        manager around each, which waits until a thread is free.
        """
        self.in_flight = 0
        """How many passwords are being hashed or wait for a thread."""
        self._on_hashed = on_hashed
        self._thread = thread
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._argon2 = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=PARALLELISM, type=Type.ID)
        self._peppers = dict(peppers or {})
        self._pepper_id = next(iter(self._peppers), NO_PEPPER)
        dummy_hash = self._argon2.hash(secrets.token_hex())
        self._dummy_hashes = {hash_profile(dummy_hash): dummy_hash}

    async def hash(self, password: str) -> str:
        return await self._run(self._hash, password)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        return await self._run(self._verify_equal_work, password_hash, password)

    def is_stale(self, password_hash: str) -> bool:
        if bcrypt_hashes.cost_of(password_hash) is not None:
            return True
        pepper_id, argon2_hash = _split(password_hash)
        return pepper_id != self._pepper_id or self._argon2.check_needs_rehash(argon2_hash)

    def close(self) -> None:
        """Stop the threads after they have finished their hashes."""
        self._executor.shutdown()

    async def _run(self, function: Callable[..., ResultT], *args: str | None) -> ResultT:
        self.in_flight += 1
        try:
            async with self._thread():
                return await asyncio.get_running_loop().run_in_executor(self._executor, self._timed, function, *args)
        finally:
            self.in_flight -= 1

    def _timed(self, function: Callable[..., ResultT], *args: str | None) -> ResultT:
        started = time.perf_counter()
        try:
            return function(*args)
        finally:
            self._on_hashed(time.perf_counter() - started)

    def _hash(self, password: str) -> str:
        return self._pepper_id + self._argon2.hash(self._peppered(self._pepper_id, password))

    def _verify_equal_work(self, password_hash: str | None, password: str) -> bool:
        """Return whether the hash is that of the password. If not, compute a hash of each known profile.

        So a wrong password takes the same time for hashes of old parameters, of bcrypt and for
        unknown accounts. The exception is the first hash of a profile that this process sees.
        """
        profile = None
        if password_hash is not None:
            profile = self._register_profile(password_hash)
            if self._verify(password_hash, password):
                return True
        for other, dummy_hash in list(self._dummy_hashes.items()):
            if other != profile:
                self._verify(dummy_hash, password)
        return False

    def _register_profile(self, password_hash: str) -> str:
        """Return the profile of the hash, and keep a dummy hash of this profile from now on."""
        profile = hash_profile(password_hash)
        if profile not in self._dummy_hashes and len(self._dummy_hashes) < MAX_PROFILES:
            self._dummy_hashes[profile] = _dummy_hash_like(password_hash)
        return profile

    def _verify(self, password_hash: str, password: str) -> bool:
        if bcrypt_hashes.cost_of(password_hash) is not None:
            return bcrypt_hashes.matches(password_hash, password)
        pepper_id, argon2_hash = _split(password_hash)
        if pepper_id != NO_PEPPER and pepper_id not in self._peppers:
            # The password cannot be verified without its pepper. It fails like a wrong one, after
            # the same work.
            log.error("a password's pepper is not configured, it cannot be right", extra={"pepper": pepper_id})
            peppered = b""
        else:
            peppered = self._peppered(pepper_id, password)
        try:
            return self._argon2.verify(argon2_hash, peppered)
        except VerifyMismatchError:
            return False

    def _peppered(self, pepper_id: str, password: str) -> bytes:
        if pepper_id == NO_PEPPER:
            return password.encode()
        return hmac.digest(self._peppers[pepper_id], password.encode(), "sha256")


def _dummy_hash_like(password_hash: str) -> str:
    """Return a hash of a random password that takes as long to verify as this hash."""
    if (cost := bcrypt_hashes.cost_of(password_hash)) is not None:
        return bcrypt_hashes.dummy_hash(cost)
    former = PasswordHasher.from_parameters(extract_parameters(_split(password_hash)[1]))
    return former.hash(secrets.token_hex())


def hash_profile(password_hash: str) -> str:
    """Return what the verification time depends on: bcrypt's cost, or argon2's parameters, the text before the salt."""
    if (cost := bcrypt_hashes.cost_of(password_hash)) is not None:
        return f"bcrypt {cost}"
    return _split(password_hash)[1].rsplit("$", 2)[0]


def _split(password_hash: str) -> tuple[str, str]:
    """Return the pepper's id, and the hash in argon2's own format, which begins with a `$`."""
    pepper_id, dollar, rest = password_hash.partition("$")
    return pepper_id, dollar + rest
