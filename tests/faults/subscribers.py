"""A live and a durable subscription to a tenant's revocations."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Set

from shared.client.auth_client import AuthClient
from tests.faults.transports import PATIENCE_SECONDS


class Subscribers:
    """The sessions that each subscription received. Made by `reading`."""

    def __init__(self) -> None:
        self.live: set[str] = set()
        self.durable: set[str] = set()

    @classmethod
    @contextlib.asynccontextmanager
    async def reading(cls, auth: AuthClient) -> AsyncIterator["Subscribers"]:
        """Read both subscriptions until the block ends, starting with the current second."""
        subscribers, since = cls(), int(time.time())
        async with asyncio.TaskGroup() as tasks:
            reading = [
                tasks.create_task(subscribers._read(auth, None, since, subscribers.live)),
                tasks.create_task(subscribers._read(auth, "audit", since, subscribers.durable)),
            ]
            try:
                yield subscribers
            finally:
                for task in reading:
                    task.cancel()

    async def receive(self, sessions: Set[str]) -> None:
        """Wait until both subscriptions received all of these sessions. Raise `TimeoutError`."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (self.live >= sessions and self.durable >= sessions):  # noqa: ASYNC110 (the readers fill the sets)
                await asyncio.sleep(0.1)

    async def _read(self, auth: AuthClient, durable: str | None, since: int, received: set[str]) -> None:
        async with contextlib.aclosing(auth.revocations(durable=durable, since=since)) as events:
            async for event in events:
                received.add(event.data.session_id)
