"""Passwords as argon2id hashes (RFC 9106), made and checked on threads of their own."""

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import VerifyMismatchError

#: One lane: two requests use two cores better than one request does.
PARALLELISM = 1

ResultT = TypeVar("ResultT")


class Argon2Hasher:
    """Implements `worker.ports.Hasher`. argon2 releases the GIL, so threads are enough to use the cores."""

    def __init__(self, threads: int, memory_kib: int, passes: int) -> None:
        """Hashes once, so that there is something to check unknown accounts against."""
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._argon2 = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=PARALLELISM, type=Type.ID)
        self._nobodys_hash = self._argon2.hash(secrets.token_hex())

    async def hash(self, password: str) -> str:
        return await self._run(self._argon2.hash, _normalised(password))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        known = await self._run(self._verify, password_hash or self._nobodys_hash, _normalised(password))
        return known and password_hash is not None

    def is_stale(self, password_hash: str) -> bool:
        return self._argon2.check_needs_rehash(password_hash)

    def close(self) -> None:
        """Ends the threads; hashing under way is finished first."""
        self._executor.shutdown()

    async def _run(self, function: Callable[..., ResultT], *args: str) -> ResultT:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *args)

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._argon2.verify(password_hash, password)
        except VerifyMismatchError:
            return False


def _normalised(password: str) -> str:
    # NIST SP 800-63B-4, 3.1.1.2: the same password typed on two keyboards may be two sequences of code points.
    return unicodedata.normalize("NFKC", password)
