"""A stand-in for the cached verifier: it knows the sessions that a test opens, until the test ends them."""

import asyncio

from shared.contracts.claims import Claims
from shared.contracts.errors import AuthError, InvalidToken
from tests.records import some_claims


class FakeVerifier:
    """Implements `shared.asgi.bearer.TokenVerifier`. `failure` is raised whatever the token."""

    def __init__(self) -> None:
        self.failure: AuthError | None = None
        self.asked: list[str] = []
        self.forgotten: list[Claims] = []
        self._live: dict[str, Claims] = {}
        self._ended: dict[str, asyncio.Event] = {}

    def open(self, token: str, **claims: object) -> Claims:
        """A session with this token."""
        self._ended[token] = asyncio.Event()
        self._live[token] = some_claims(**claims)
        return self._live[token]

    def end(self, token: str) -> None:
        """Ends it, and tells who waits for that."""
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
