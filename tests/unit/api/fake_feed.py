"""A fake of the revocation feed, whose state a test sets."""

import time


class FakeFeed:
    """Implements `Feed`. Alive and up to date at its creation, until a test changes that."""

    def __init__(self) -> None:
        self.proven_at = time.monotonic()
        self.is_alive = True

    async def __aenter__(self) -> object:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    @property
    def alive(self) -> bool:
        return self.is_alive

    async def wait_alive(self, timeout_seconds: float) -> bool:  # noqa: ARG002 - the overridden signature
        return self.is_alive
