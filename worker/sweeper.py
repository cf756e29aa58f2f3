"""Finishes what a crash left behind: sessions decided or displaced to end, and revocations not yet announced."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from shared.contracts.errors import AuthError
from worker.operations.ending import carry_out, carry_out_of_tenant, end_displaced
from worker.ports import Ports

log = logging.getLogger(__name__)

#: How often to look. Each look reads sparse indexes that are empty on a good day.
INTERVAL_SECONDS = 2.0
#: Work younger than this is likely in the hands of the worker that began it; doing it twice does no harm.
GRACE = timedelta(seconds=5)
#: Taken on at a time, so that a large backlog does not fill the memory.
BATCH = 500


@dataclass(frozen=True, slots=True)
class Left:
    """What a sweep found that others had left, and took on: at most `BATCH` of each."""

    endings: int
    unannounced: int
    oldest_seconds: float
    """Since the oldest of the unannounced was decided."""


def _unheard(_: Left | None) -> None:
    """Nobody wants to know."""


async def sweep_forever(
    ports: Ports, interval_seconds: float = INTERVAL_SECONDS, on_swept: Callable[[Left | None], None] = _unheard
) -> None:
    """Sweeps until cancelled. Any number of workers may do it at once. `on_swept` hears None of a sweep that failed."""
    while True:
        await asyncio.sleep(interval_seconds)
        left = None
        try:
            left = await sweep(ports)
        except AuthError as error:
            log.warning("sweep failed, trying again", extra={"code": error.code})
        except Exception:  # a fault met in one sweep must not be the end of all sweeping
            log.exception("sweep failed, trying again")
        on_swept(left)


async def sweep(ports: Ports) -> Left:
    """One look at what was left. Raises `Unavailable` when the database is away."""
    now = ports.clock.now()
    older_than = now - GRACE
    of_tenants = await ports.tenants.unfinished_endings(older_than, BATCH)
    for of_tenant in of_tenants:
        told = {"tenant": of_tenant.tenant, "reason": of_tenant.reason}
        log.warning("finishing an ending that was left behind", extra=told)
        await carry_out_of_tenant(of_tenant, ports)
    endings = await ports.users.unfinished_endings(older_than, BATCH)
    for ending in endings:
        log.warning("finishing an ending that was left behind", extra={"user": ending.user, "reason": ending.reason})
        await carry_out(ending, ports)
    displacing = await ports.sessions.unsettled(older_than, BATCH)
    for session in displacing:
        log.warning("ending what a login displaces, that was left behind", extra={"session": session.id})
        await end_displaced(session, ports)
    sessions = await ports.sessions.unannounced(older_than, BATCH)
    for session in sessions:
        ports.events.announce(session)
    decided = [session.revocation.at for session in sessions if session.revocation]
    left = len(of_tenants) + len(endings) + len(displacing)
    return Left(left, len(sessions), (now - min(decided, default=now)).total_seconds())
