"""A fake of the cached verifier, with sessions that a test opens and ends."""

import asyncio

from shared.contracts.claims import Claims
from shared.contracts.errors import AuthError, InvalidToken
from tests.records import some_claims


class FakeVerifier:
    """Implements `shared.asgi.bearer.TokenVerifier`. If `failure` is set, each call raises it."""

    def __init__(self) -> None:
        self.failure: AuthError | None = None
        self.asked: list[str] = []
        self.forgotten: list[Claims] = []
        self._live: dict[str, Claims] = {}
        self._ended: dict[str, asyncio.Event] = {}

    def open(self, token: str, **claims: object) -> Claims:
        """Open a session with this token."""
        self._ended[token] = asyncio.Event()
        self._live[token] = some_claims(**claims)
        return self._live[token]

    def end(self, token: str) -> None:
        """End the session of this token and wake the callers of `until_ended`."""
        del self._live[token]
        self._ended[token].set()

    async def verify(self, token: str) -> Claims:
        self.asked.append(token)
        if self.failure:
            raise self.failure
        if token not in self._live:
            raise InvalidToken
        return self._live[token]

    async def until_ended(self, token: str) -> None:
        if self.failure:
            raise self.failure
        await self._ended[token].wait()

    def forget(self, claims: Claims) -> None:
        self.forgotten.append(claims)
