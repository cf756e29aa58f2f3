"""A fake of the revocation feed, whose state a test sets."""

import time
from typing import Self

from shared.amqp.feed import RevocationFeed


class FakeFeed(RevocationFeed):
    """Alive and up to date at its creation, until a test changes that."""

    def __init__(self) -> None:
        super().__init__([], "fake", on_revoked=lambda _: None, on_interrupted=lambda: None, subscriber="fake")
        self.proven_at = time.monotonic()
        self.is_alive = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    @property
    def alive(self) -> bool:
        return self.is_alive

    async def wait_alive(self, timeout_seconds: float) -> bool:  # noqa: ARG002 - the overridden signature
        return self.is_alive
