"""Finishes what a crash left behind: sessions decided or displaced to end, and revocations not yet announced."""

import asyncio
import logging
from datetime import timedelta

from shared.contracts.errors import AuthError
from worker.operations.ending import carry_out, carry_out_of_tenant, end_displaced
from worker.ports import Ports

log = logging.getLogger(__name__)

#: How often to look. Each look reads a partial index that is empty on a good day.
INTERVAL_SECONDS = 2.0
#: Work younger than this is likely in the hands of the worker that began it; doing it twice does no harm.
GRACE = timedelta(seconds=5)
#: Taken on at a time, so that a large backlog does not fill the memory.
BATCH = 500


async def sweep_forever(ports: Ports, interval_seconds: float = INTERVAL_SECONDS) -> None:
    """Sweeps until cancelled. Any number of workers may do it at once."""
    while True:
        await asyncio.sleep(interval_seconds)
        try:
            await sweep(ports)
        except AuthError as error:
            log.warning("sweep failed, trying again", extra={"code": error.code})
        except Exception:  # a fault met in one sweep must not be the end of all sweeping
            log.exception("sweep failed, trying again")


async def sweep(ports: Ports) -> None:
    """One look at what was left. Raises `Unavailable` when the database is away."""
    older_than = ports.clock.now() - GRACE
    for of_tenant in await ports.tenants.unfinished_endings(older_than, BATCH):
        told = {"tenant": of_tenant.tenant, "reason": of_tenant.reason}
        log.warning("finishing an ending that was left behind", extra=told)
        await carry_out_of_tenant(of_tenant, ports)
    for ending in await ports.users.unfinished_endings(older_than, BATCH):
        log.warning("finishing an ending that was left behind", extra={"user": ending.user, "reason": ending.reason})
        await carry_out(ending, ports)
    for session in await ports.sessions.unsettled(older_than, BATCH):
        log.warning("ending what a login displaces, that was left behind", extra={"session": session.id})
        await end_displaced(session, ports)
    for session in await ports.sessions.unannounced(older_than, BATCH):
        ports.events.announce(session)
