"""What the cached verifier and the reader of revocations know of a feed: `amqp.feed.RevocationFeed`, or a fake."""

from collections.abc import Callable
from typing import Protocol

from ..contracts.events import SessionRevokedEvent


class Feed(Protocol):
    """Revocations from when it is entered; an async context manager."""

    @property
    def alive(self) -> bool:
        """Whether events of a few seconds ago are known to have arrived."""

    @property
    def proven_at(self) -> float:
        """Until when, on `clock.elapsed_seconds`, all that was announced has been passed on or an interruption told."""

    async def wait_alive(self, timeout_seconds: float) -> bool:
        """Whether it is alive, now or within this time."""

    async def __aenter__(self) -> object: ...

    async def __aexit__(self, *exc_info: object) -> None: ...


class FeedFactory(Protocol):
    """Makes a feed, given what to call on a revocation and on an interruption."""

    def __call__(
        self, *, on_revoked: Callable[[SessionRevokedEvent], None], on_interrupted: Callable[[], None]
    ) -> Feed: ...
