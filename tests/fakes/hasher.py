"""Fake of the `Hasher` port; it passes the contract suite of the real adapter."""

import asyncio
import hashlib


class FakeHasher:
    """Implements the port `Hasher`. `work` counts slow computations; `parameters` are the current ones."""

    def __init__(self, parameters: str = "today") -> None:
        self.parameters = parameters
        self.work = 0
        self._salts = 0

    async def hash(self, password: str) -> str:
        await self._compute()
        self._salts += 1
        return self._digest(self.parameters, str(self._salts), password)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        await self._compute()
        if password_hash is None:
            return False
        parameters, salt, _ = password_hash.split("$")
        return self._digest(parameters, salt, password) == password_hash

    def is_stale(self, password_hash: str) -> bool:
        return not password_hash.startswith(f"{self.parameters}$")

    async def _compute(self) -> None:
        self.work += 1
        await asyncio.sleep(0)  # lets other tasks run, as the real hasher does

    @staticmethod
    def _digest(parameters: str, salt: str, password: str) -> str:
        return f"{parameters}${salt}${hashlib.sha256(f'{salt}{password}'.encode()).hexdigest()}"
