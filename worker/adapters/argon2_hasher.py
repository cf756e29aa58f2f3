"""Passwords as argon2id hashes (RFC 9106), made and checked on threads of their own."""

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import VerifyMismatchError

#: One lane: two requests use two cores better than one request does.
PARALLELISM = 1
#: Sets of parameters that hashes are stored with at a time. Each more costs a hash for each wrong password.
MAX_PARAMETERS = 4

ResultT = TypeVar("ResultT")


class Argon2Hasher:
    """Implements `worker.ports.Hasher`. argon2 releases the GIL, so threads are enough to use the cores."""

    def __init__(self, threads: int, memory_kib: int, passes: int) -> None:
        """Hashes once, so that there is something to check unknown accounts against."""
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._argon2 = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=PARALLELISM, type=Type.ID)
        nobodys_hash = self._argon2.hash(secrets.token_hex())
        self._nobodys_hashes = {_how_made(nobodys_hash): nobodys_hash}

    async def hash(self, password: str) -> str:
        return await self._run(self._argon2.hash, _normalised(password))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        return await self._run(self._verify_alike, password_hash, _normalised(password))

    def is_stale(self, password_hash: str) -> bool:
        return self._argon2.check_needs_rehash(password_hash)

    def close(self) -> None:
        """Ends the threads; hashing under way is finished first."""
        self._executor.shutdown()

    async def _run(self, function: Callable[..., ResultT], *args: str | None) -> ResultT:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *args)

    def _verify_alike(self, password_hash: str | None, password: str) -> bool:
        """Whether it is the password. If not, one hash was computed in each of the ways that stored ones were made.

        So a hash of former parameters takes as long as one of today, and both as long as none.
        """
        how_made = None
        if password_hash is not None:
            how_made = self._met(password_hash)
            if self._verify(password_hash, password):
                return True
        for other, nobodys_hash in list(self._nobodys_hashes.items()):
            if other != how_made:
                self._verify(nobodys_hash, password)
        return False

    def _met(self, password_hash: str) -> str:
        """How it was made; from now on nobody's passwords are hashed in this way too."""
        how_made = _how_made(password_hash)
        if how_made not in self._nobodys_hashes and len(self._nobodys_hashes) < MAX_PARAMETERS:
            former = PasswordHasher.from_parameters(extract_parameters(password_hash[password_hash.index("$") :]))
            self._nobodys_hashes[how_made] = former.hash(secrets.token_hex())
        return how_made

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._argon2.verify(password_hash, password)
        except VerifyMismatchError:
            return False


def _how_made(password_hash: str) -> str:
    """All of it that stands before the salt."""
    return password_hash.rsplit("$", 2)[0]


def _normalised(password: str) -> str:
    # NIST SP 800-63B-4, 3.1.1.2: the same password typed on two keyboards may be two sequences of code points.
    return unicodedata.normalize("NFKC", password)
