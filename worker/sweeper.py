"""Finishes what a crash left behind: sessions decided or displaced to end, and revocations not yet announced.

Each tenant has a share of each sweep, whatever others have left. Announcing and finishing are two sweeps beside each
other: sessions by the ten thousand may have to end, and no event waits for that.
"""

import asyncio
import logging
import random
from bisect import bisect
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from shared.contracts.errors import AuthError
from worker.domain.ports import Ports
from worker.domain.records import Revocation, TenantRevocation
from worker.domain.session_revocation import enforce_session_limit, revoke_tenant_sessions, revoke_user_sessions

log = logging.getLogger(__name__)

#: How often to look, at most; with jitter, so that workers look at different times and publish less of it twice. Each
#: look reads sparse indexes that are empty on a good day.
INTERVAL_SECONDS = 2.0
#: Work younger than this is likely in the hands of the worker that began it; doing it twice does no harm.
GRACE = timedelta(seconds=5)
#: Taken on at a time, so that a large backlog does not fill the memory. Tenants share it.
BATCH = 500
#: Tenants whose endings are carried out at a time; each is a query after another.
TENANTS_AT_A_TIME = 8
#: For a tenant's endings in one sweep. Each step is durable, so the next sweep goes on where this one stopped.
TURN_SECONDS = 5.0

FoundT = TypeVar("FoundT")


@dataclass(frozen=True, slots=True)
class Unannounced:
    """The revocations that a sweep found unannounced, and took on: at most `BATCH`."""

    number: int
    oldest_seconds: float
    """Age of the oldest of them, refused ones left out: those wait for a subscriber's queue."""


class TenantRotation:
    """Picks the tenants of each sweep: those that do not fit into one come first in the next."""

    def __init__(self) -> None:
        self._last = ""

    def next(self, tenants: Collection[str]) -> Sequence[str]:
        """Up to `BATCH` of the tenants."""
        ordered = sorted(tenants)
        begin = bisect(ordered, self._last)
        accepted_password = (ordered[begin:] + ordered[:begin])[:BATCH]
        self._last = accepted_password[-1] if accepted_password else ""
        return accepted_password


class Sweeper:
    """Looks for what was left. Any number of workers may do it at once."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._announcing = TenantRotation()
        self._finishing = TenantRotation()

    async def announce(self) -> Unannounced:
        """Announces a share of each tenant's revocations. Raises `Unavailable` when the database is away."""
        now = self._ports.clock.now()
        older_than = now - GRACE
        tenants = self._announcing.next(await self._ports.sessions.tenants_unannounced(older_than))
        found: list[Revocation] = []
        for tenant in tenants:
            for session in await self._ports.sessions.unannounced(tenant, older_than, BATCH // len(tenants)):
                self._ports.events.announce(session)
                if session.revocation:
                    found.append(session.revocation)
        decided = [revocation.at for revocation in found if not revocation.refusals]
        return Unannounced(len(found), (now - min(decided, default=now)).total_seconds())

    async def finish(self) -> int:
        """Carries out a share of each tenant's endings, and says how many. Raises `Unavailable` as `announce` does.

        A tenant's endings that fail, or take too long, are in nobody else's way.
        """
        older_than = self._ports.clock.now() - GRACE
        closing = {
            ending.tenant: ending for ending in await self._ports.tenants.unfinished_revocations(older_than, BATCH)
        }
        ending = await self._ports.users.tenants_with_unfinished_revocations(older_than)
        displacing = await self._ports.sessions.tenants_enforcing_limit(older_than)
        tenants = self._finishing.next({*closing, *ending, *displacing})
        at_a_time = asyncio.Semaphore(TENANTS_AT_A_TIME)

        async def turn(tenant: str) -> int:
            async with at_a_time:
                return await self._finish_of(tenant, closing.get(tenant), older_than, BATCH // len(tenants))

        return sum(await asyncio.gather(*map(turn, tenants)))

    async def _finish_of(self, tenant: str, closing: TenantRevocation | None, older_than: datetime, share: int) -> int:
        finished = 0
        try:
            async with asyncio.timeout(TURN_SECONDS):
                if closing:
                    told: dict[str, object] = {"tenant": tenant, "reason": closing.reason}
                    log.warning("finishing an ending that was left behind", extra=told)
                    finished += await _tried(tenant, revoke_tenant_sessions(closing, self._ports))
                for ending in await self._ports.users.unfinished_revocations(tenant, older_than, share):
                    told = {"user": ending.user, "reason": ending.reason}
                    log.warning("finishing an ending that was left behind", extra=told)
                    finished += await _tried(tenant, revoke_user_sessions(ending, self._ports))
                for session in await self._ports.sessions.enforcing_limit(tenant, older_than, share):
                    told = {"session": session.id}
                    log.warning("ending what a login displaces, that was left behind", extra=told)
                    finished += await _tried(tenant, enforce_session_limit(session, self._ports))
        except TimeoutError:
            log.warning("a tenant's endings take long, the next sweep goes on", extra={"tenant": tenant})
        except AuthError as error:
            log.warning("a tenant's endings are not found, trying again", extra={"tenant": tenant, "code": error.code})
        except Exception:  # whatever it is, the other tenants have their turns
            log.exception("a tenant's endings are not found, trying again", extra={"tenant": tenant})
        return finished


async def sweep_forever(
    ports: Ports,
    interval_seconds: float = INTERVAL_SECONDS,
    *,
    on_announced: Callable[[Unannounced | None], None] = lambda _: None,
    on_finished: Callable[[int | None], None] = lambda _: None,
) -> None:
    """Sweeps until cancelled. `on_announced` and `on_finished` hear of each sweep; None of one that failed."""
    sweeper = Sweeper(ports)
    async with asyncio.TaskGroup() as both:
        both.create_task(_forever(sweeper.announce, interval_seconds, on_announced))
        both.create_task(_forever(sweeper.finish, interval_seconds, on_finished))


async def _forever(
    sweep: Callable[[], Awaitable[FoundT]], interval_seconds: float, on_swept: Callable[[FoundT | None], None]
) -> None:
    while True:
        await asyncio.sleep(interval_seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret
        found = None
        try:
            found = await sweep()
        except AuthError as error:
            log.warning("sweep failed, trying again", extra={"code": error.code})
        except Exception:  # a fault met in one sweep must not be the end of all sweeping
            log.exception("sweep failed, trying again")
        on_swept(found)


async def _tried(tenant: str, work: Awaitable[None]) -> int:
    """Carries out one ending. Returns 1, or 0 if it failed, which is logged."""
    try:
        await work
    except AuthError as error:
        log.warning("an ending failed, trying again", extra={"tenant": tenant, "code": error.code})
        return 0
    except Exception:
        log.exception("an ending failed, trying again", extra={"tenant": tenant})
        return 0
    return 1
