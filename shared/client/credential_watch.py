"""Ends a subscription when the service's API key does: the broker knows nothing of keys."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Self, TypeVar

from ..contracts.errors import OUTAGES
from ..contracts.events import SessionRevokedEvent

#: Time between checks of a key: it may expire, or its event may be late.
CHECK_SECONDS = 30.0
#: Time between checks while no worker replies.
RETRY_SECONDS = 1.0

ResultT = TypeVar("ResultT")


class CredentialWatch:
    """Asks a worker every 30 seconds whether it accepts the credential of a subscription; an async context manager."""

    def __init__(self, check: Callable[[], Awaitable[object]]) -> None:
        """`check` raises the refusal."""
        self._check = check
        self._due = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def until_refused(self, result: Awaitable[ResultT]) -> ResultT:
        """Wait for a result. Raises the refusal as soon as a worker refuses the credential."""
        if self._watching is None:
            raise RuntimeError("enter the watch first")
        waiting = asyncio.ensure_future(result)
        try:
            await asyncio.wait({waiting, self._watching}, return_when=asyncio.FIRST_COMPLETED)
            if self._watching.done():
                self._watching.result()
            return waiting.result()
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    def saw(self, event: SessionRevokedEvent) -> None:
        """Check at once after an event that may be about the credential itself."""
        if event.data.user is None:
            self._due.set()

    async def _watch(self) -> None:
        while True:
            pause_seconds = CHECK_SECONDS
            try:
                await self._check()
            except OUTAGES:
                pause_seconds = RETRY_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), pause_seconds)
            self._due.clear()


async def while_accepted(
    events: AsyncGenerator[SessionRevokedEvent, None], watch: CredentialWatch
) -> AsyncGenerator[SessionRevokedEvent, None]:
    """Iterate over the events until a worker refuses the credential. Raises the refusal."""
    async with contextlib.aclosing(events), watch:
        while True:
            event = await watch.until_refused(anext(events))
            yield event
            watch.saw(event)
