"""Readiness of the broker, the workers and the database, with a result that concurrent probes share."""

import asyncio
import time
from collections.abc import Callable

from api.workers import WorkerCalls
from shared.contracts.errors import AuthError
from shared.contracts.health import HEALTH, HealthReply, HealthRequest
from shared.contracts.operation import Lane

#: Shorter than the usual timeout of probes, so that the prober still receives what is missing.
PROBE_TIMEOUT_SECONDS = 2.0
#: Shorter than the usual interval of a load balancer, one second. Without sharing, each public probe would cost three
#: messages and three database reads.
SHARED_SECONDS = 0.5


class SharedReadiness:
    """Readiness checks that coalesce concurrent probes.

    Probes share one check while it runs, which takes at most `PROBE_TIMEOUT_SECONDS`, and until
    `SHARED_SECONDS` after it began. The state of the broker connection is never cached.
    """

    def __init__(self, workers: WorkerCalls, clock: Callable[[], float] = time.monotonic) -> None:
        self._workers = workers
        self._clock = clock
        self._asking: asyncio.Task[tuple[str, ...]] | None = None
        self._asked_at = 0.0

    async def missing(self) -> tuple[str, ...]:
        """Return the missing parts of the service; an empty tuple means ready."""
        if not self._workers.rpc.connected.is_set() or self._workers.rpc.blocked:
            return ("broker",)
        now = self._clock()
        if self._asking is None or (self._asking.done() and now - self._asked_at >= SHARED_SECONDS):
            self._asking, self._asked_at = asyncio.create_task(self._ask()), now
        # A cancelled probe must not cancel the check of the others.
        return await asyncio.shield(self._asking)

    async def _ask(self) -> tuple[str, ...]:
        replies = await asyncio.gather(*(self._probe(lane) for lane in Lane))
        if self._workers.rpc.blocked:  # the broker reports an alarm only after a publish
            return ("broker",)
        absent = [f"worker:{lane}" for lane, reply in zip(Lane, replies, strict=True) if reply is None]
        cut_off = any(reply is not None and not reply.database for reply in replies)
        return (*absent, *(["database"] if cut_off else []))

    async def _probe(self, lane: Lane) -> HealthReply | None:
        try:
            return await self._workers.call(HEALTH[lane], HealthRequest(), timeout_seconds=PROBE_TIMEOUT_SECONDS)
        except AuthError:
            return None
