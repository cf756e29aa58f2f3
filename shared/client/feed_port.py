"""The port to a feed of revocations, which `amqp.feed.RevocationFeed` implements."""

from collections.abc import Callable
from typing import Protocol

from ..contracts.events import SessionRevokedEvent


class Feed(Protocol):
    """New revocations while it is entered; an async context manager."""

    @property
    def alive(self) -> bool:
        """Whether all events older than a few seconds are known to have arrived."""

    @property
    def proven_at(self) -> float:
        """Time on `clock.elapsed_seconds`: all events before it were passed on, or an interruption
        was reported."""

    async def wait_alive(self, timeout_seconds: float) -> bool:
        """Wait up to `timeout_seconds` for the feed to be alive; return whether it is."""

    async def __aenter__(self) -> object: ...

    async def __aexit__(self, *exc_info: object) -> None: ...


class FeedFactory(Protocol):
    """Creates a feed that calls `on_revoked` per event and `on_interrupted` when events may be
    missed."""

    def __call__(
        self, *, on_revoked: Callable[[SessionRevokedEvent], None], on_interrupted: Callable[[], None]
    ) -> Feed: ...
