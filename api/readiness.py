"""Whether the service behind this edge can do its work, asked no more often than probes need to know."""

import asyncio
import time
from collections.abc import Callable

from api.workers import WorkerCalls
from shared.contracts.errors import AuthError
from shared.contracts.health import HEALTH, HealthReply, HealthRequest
from shared.contracts.operation import Lane

#: Below what probes commonly wait, so that the answer names what is missing before the prober gives up.
PROBE_TIMEOUT_SECONDS = 2.0
#: Below the second between two questions of a balancer. To ask costs three messages and three looks at the database,
#: and anybody may ask any number of times.
SHARED_SECONDS = 0.5


class SharedReadiness:
    """Asks the workers for all who want to know at about the same time.

    An answer is shared by whoever comes while it is awaited, which is `PROBE_TIMEOUT_SECONDS` at most, or within
    `SHARED_SECONDS` of when it was asked for: it never tells of a moment before that. Whether there is a broker is
    known here, and is never an old answer.
    """

    def __init__(self, workers: WorkerCalls, clock: Callable[[], float] = time.monotonic) -> None:
        self._workers = workers
        self._clock = clock
        self._asking: asyncio.Task[tuple[str, ...]] | None = None
        self._asked_at = 0.0

    async def missing(self) -> tuple[str, ...]:
        """What the service waits for: nothing, if it is ready."""
        if not self._workers.rpc.connected.is_set() or self._workers.rpc.blocked:
            return ("broker",)
        now = self._clock()
        if self._asking is None or (self._asking.done() and now - self._asked_at >= SHARED_SECONDS):
            self._asking, self._asked_at = asyncio.create_task(self._ask()), now
        # Who gives up waiting leaves the others their answer.
        return await asyncio.shield(self._asking)

    async def _ask(self) -> tuple[str, ...]:
        replies = await asyncio.gather(*(self._probe(lane) for lane in Lane))
        if self._workers.rpc.blocked:  # which shows when something is published
            return ("broker",)
        absent = [f"worker:{lane}" for lane, reply in zip(Lane, replies, strict=True) if reply is None]
        cut_off = any(reply is not None and not reply.database for reply in replies)
        return (*absent, *(["database"] if cut_off else []))

    async def _probe(self, lane: Lane) -> HealthReply | None:
        try:
            return await self._workers.call(HEALTH[lane], HealthRequest(), timeout_seconds=PROBE_TIMEOUT_SECONDS)
        except AuthError:
            return None
