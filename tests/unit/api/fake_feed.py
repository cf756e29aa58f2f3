"""A stand-in for the feed of revocations: a test says what it proves."""

import time


class FakeFeed:
    """Implements `Feed`. It is alive, and up to date when it was made, until a test says otherwise."""

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

    async def wait_alive(self, timeout_seconds: float) -> bool:  # noqa: ARG002 - the signature it stands in for
        return self.is_alive
