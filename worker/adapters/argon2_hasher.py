"""Passwords as argon2id hashes (RFC 9106), made and checked on threads of their own, under a pepper if there is one.

bcrypt hashes, which were made elsewhere, are checked too.
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

#: One lane: two requests use two cores better than one request does.
PARALLELISM = 1
#: Ways that stored hashes were made at a time: argon2id's parameters, bcrypt's costs. Each more costs a hash for each
#: wrong password.
MAX_PROFILES = 4
#: The id of no pepper: what is stored then begins with the `$` of argon2's own format.
NO_PEPPER = ""

ResultT = TypeVar("ResultT")


class Argon2Hasher:
    """Implements the port `Hasher`. argon2 and bcrypt release the GIL, so threads are enough to use the cores.

    Each thread takes `memory_kib` while it hashes, and no more hash at a time than there are threads.

    A pepper is a secret that the database does not hold: who steals that alone cannot even guess. With one, argon2 is
    given HMAC-SHA-256 of the password under it, and what is stored is `<id of the pepper>$argon2id$…`. A bcrypt hash is
    stored as it came, without a pepper, and always stale.
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
        """The first pepper is that of new hashes; all of them verify, and so do hashes without any.

        Hashes once, so that there is something to check unknown accounts against. `on_hashed` hears how long each hash
        or check took, on the thread that made it. `thread` is around each, and says when there is a thread for it.
        """
        self.in_flight = 0
        """How many are being hashed, or wait for a thread."""
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
        """Ends the threads; hashing under way is finished first."""
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
        """Whether it is the password. If not, one hash was computed in each of the ways that stored ones were made.

        So a hash of former parameters, or of bcrypt, takes as long as one of today, and all as long as none; from the
        first that this process meets, which is told apart once.
        """
        made = None
        if password_hash is not None:
            made = self._register_profile(password_hash)
            if self._verify(password_hash, password):
                return True
        for other, dummy_hash in list(self._dummy_hashes.items()):
            if other != made:
                self._verify(dummy_hash, password)
        return False

    def _register_profile(self, password_hash: str) -> str:
        """How it was made; from now on nobody's passwords are hashed in this way too."""
        made = hash_profile(password_hash)
        if made not in self._dummy_hashes and len(self._dummy_hashes) < MAX_PROFILES:
            self._dummy_hashes[made] = _dummy_hash_like(password_hash)
        return made

    def _verify(self, password_hash: str, password: str) -> bool:
        if bcrypt_hashes.cost_of(password_hash) is not None:
            return bcrypt_hashes.is_right(password_hash, password)
        pepper_id, argon2_hash = _split(password_hash)
        if pepper_id != NO_PEPPER and pepper_id not in self._peppers:
            # Nobody can tell any more whether it is right. Who asks is told what a wrong one is, after the same work.
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
    """One of a password that nobody knows, which takes as long to verify."""
    if (cost := bcrypt_hashes.cost_of(password_hash)) is not None:
        return bcrypt_hashes.dummy_hash(cost)
    former = PasswordHasher.from_parameters(extract_parameters(_split(password_hash)[1]))
    return former.hash(secrets.token_hex())


def hash_profile(password_hash: str) -> str:
    """What the time depends on that it takes: bcrypt's cost, or all of argon2's format that stands before the salt."""
    if (cost := bcrypt_hashes.cost_of(password_hash)) is not None:
        return f"bcrypt {cost}"
    return _split(password_hash)[1].rsplit("$", 2)[0]


def _split(password_hash: str) -> tuple[str, str]:
    """The pepper's id and argon2's own format, which begins with a `$`."""
    pepper_id, dollar, rest = password_hash.partition("$")
    return pepper_id, dollar + rest
