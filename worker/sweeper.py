"""Completes interrupted work: revocations that were decided, session limits, and unannounced revocations.

It also counts large tenants for operators.

Each tenant has a share of each sweep, however much work other tenants have. A lease makes one worker
at a time sweep a tenant: otherwise each worker would revoke and announce the same. Announcing and
finishing are two concurrent sweeps: ten thousands of sessions may have to be revoked, and events do
not wait for that.
"""

import asyncio
import logging
from bisect import bisect
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from shared.amqp.jitter import jittered
from shared.contracts.errors import AuthError
from worker.domain.ports import Ports
from worker.domain.records import Revocation, TenantRevocation
from worker.domain.session_revocation import enforce_session_limit, revoke_tenant_sessions, revoke_user_sessions
from worker.domain.tenant_counts import count_all

log = logging.getLogger(__name__)

#: The longest interval between sweeps. With jitter, so that workers sweep at different times and
#: publish fewer events twice. A sweep reads sparse indexes, which are usually empty.
INTERVAL_SECONDS = 2.0
#: Younger work is probably still in flight in the worker that began it. Doing it twice is harmless.
GRACE = timedelta(seconds=5)
#: How long a worker has a tenant to itself. Longer than a turn and the interval after it, since the
#: next sweep extends the lease. After a crash, the tenant's work waits for the end of the lease.
LEASE = timedelta(seconds=10)
#: The most items of one sweep, shared by the tenants, so that a large backlog does not fill the
#: memory.
BATCH = 500
#: Tenants whose revocations are completed concurrently. The queries of one tenant run one after
#: another.
TENANTS_AT_A_TIME = 8
#: The time to count all users and sessions of one tenant. A longer count is given up.
COUNT_SECONDS = 60.0
#: Longer than a count. After a crash, another worker counts the tenant when the lease ends.
COUNT_LEASE = timedelta(seconds=75)
#: The time for one tenant in one sweep. Each step is durable, so the next sweep continues where
#: this one stopped.
TURN_SECONDS = 5.0

FoundT = TypeVar("FoundT")


@dataclass(frozen=True, slots=True)
class Unannounced:
    """The unannounced revocations that a sweep found and announces, at most `BATCH`."""

    number: int
    oldest_seconds: float
    """Age of the oldest one, without refused ones, which wait for a subscriber's queue."""


class TenantRotation:
    """Chooses the tenants of each sweep. Tenants that do not fit into one sweep come first in the next."""

    def __init__(self) -> None:
        self._last = ""

    def next(self, tenants: Collection[str]) -> Sequence[str]:
        """Return up to `BATCH` of the tenants, in rotation."""
        ordered = sorted(tenants)
        begin = bisect(ordered, self._last)
        accepted_password = (ordered[begin:] + ordered[:begin])[:BATCH]
        self._last = accepted_password[-1] if accepted_password else ""
        return accepted_password


class Sweeper:
    """Finds and completes interrupted work. Any number of workers may sweep concurrently."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._announcing = TenantRotation()
        self._finishing = TenantRotation()

    async def announce(self) -> Unannounced:
        """Announce a share of each tenant's revocations. Without a broker, only count them.

        Raises `Unavailable` if the database is unavailable.
        """
        now = self._ports.clock.now()
        older_than = now - GRACE
        tenants = self._announcing.next(await self._ports.sessions.tenants_unannounced(older_than))
        if connected := self._ports.events.connected:
            tenants = await self._leased("announce", tenants)
        found: list[Revocation] = []
        for tenant in tenants:
            for session in await self._ports.sessions.unannounced(tenant, older_than, BATCH // len(tenants)):
                if connected:
                    self._ports.events.announce(session)
                if session.revocation:
                    found.append(session.revocation)
        decided = [revocation.at for revocation in found if not revocation.refusals]
        return Unannounced(len(found), (now - min(decided, default=now)).total_seconds())

    async def finish(self) -> int:
        """Complete a share of each tenant's interrupted revocations. Return how many were completed.

        Failures and delays of one tenant do not affect the others. Raises `Unavailable` if the
        database is unavailable.
        """
        older_than = self._ports.clock.now() - GRACE
        decisions = await self._ports.tenants.unfinished_revocations(older_than, BATCH)
        of_tenants = {decision.tenant: decision for decision in decisions}
        of_users = await self._ports.users.tenants_with_unfinished_revocations(older_than)
        over_limit = await self._ports.sessions.tenants_enforcing_limit(older_than)
        tenants = await self._leased("finish", self._finishing.next({*of_tenants, *of_users, *over_limit}))
        at_a_time = asyncio.Semaphore(TENANTS_AT_A_TIME)

        async def turn(tenant: str) -> int:
            async with at_a_time:
                return await self._finish_of(tenant, of_tenants.get(tenant), older_than, BATCH // len(tenants))

        return sum(await asyncio.gather(*map(turn, tenants)))

    async def count(self) -> int:
        """Count the users and sessions of large tenants that an operator looked at. Return how many were counted.

        One tenant after another, and each in steps, so that counting is slow rather than noticeable. Raises
        `Unavailable` if the database is unavailable.
        """
        counted = 0
        for tenant in await self._ports.tenants.with_requested_counts(BATCH):
            if await self._leased("count", [tenant], COUNT_LEASE):
                counted += await self._counted(tenant)
        return counted

    async def _counted(self, tenant: str) -> int:
        try:
            async with asyncio.timeout(COUNT_SECONDS):
                await count_all(tenant, self._ports)
        except (AuthError, TimeoutError):
            log.warning("a tenant cannot be counted; the next list of tenants asks again", extra={"tenant": tenant})
            await self._ports.tenants.store_counts(tenant, None)
            return 0
        return 1

    async def _leased(self, sweep: str, tenants: Sequence[str], lease: timedelta = LEASE) -> Sequence[str]:
        """Return those of the tenants that this worker has to itself in this sweep."""
        now = self._ports.clock.now()
        taken = await self._ports.sweep_leases.take([f"{sweep} {tenant}" for tenant in tenants], now, now + lease)
        return [tenant for tenant in tenants if f"{sweep} {tenant}" in taken]

    async def _finish_of(
        self, tenant: str, of_tenant: TenantRevocation | None, older_than: datetime, share: int
    ) -> int:
        finished = 0
        try:
            async with asyncio.timeout(TURN_SECONDS):
                if of_tenant:
                    fields: dict[str, object] = {"tenant": tenant, "reason": of_tenant.reason}
                    log.warning("completing a revocation that was interrupted", extra=fields)
                    finished += await _tried(tenant, revoke_tenant_sessions(of_tenant, self._ports))
                for decision in await self._ports.users.unfinished_revocations(tenant, older_than, share):
                    fields = {"user": decision.user, "reason": decision.reason}
                    log.warning("completing a revocation that was interrupted", extra=fields)
                    finished += await _tried(tenant, revoke_user_sessions(decision, self._ports))
                for session in await self._ports.sessions.enforcing_limit(tenant, older_than, share):
                    fields = {"session": session.id}
                    log.warning("enforcing a session limit after an interrupted login", extra=fields)
                    finished += await _tried(tenant, enforce_session_limit(session, self._ports))
        except TimeoutError:
            log.warning("a tenant's revocations take long, the next sweep continues", extra={"tenant": tenant})
        except AuthError as error:
            log.warning(
                "a tenant's revocations cannot be read, trying again",
                extra={"tenant": tenant, "code": error.code},
            )
        except Exception:  # one tenant's failure must not stop the others
            log.exception("a tenant's revocations cannot be read, trying again", extra={"tenant": tenant})
        return finished


async def sweep_forever(
    ports: Ports,
    interval_seconds: float = INTERVAL_SECONDS,
    *,
    on_announced: Callable[[Unannounced | None], None] = lambda _: None,
    on_finished: Callable[[int | None], None] = lambda _: None,
) -> None:
    """Sweep until cancelled. `on_announced` and `on_finished` get the result of each sweep, or None if it failed."""
    sweeper = Sweeper(ports)
    async with asyncio.TaskGroup() as sweeps:
        sweeps.create_task(_forever(sweeper.announce, interval_seconds, on_announced))
        sweeps.create_task(_forever(sweeper.finish, interval_seconds, on_finished))
        sweeps.create_task(_forever(sweeper.count, interval_seconds, lambda _: None))


async def _forever(
    sweep: Callable[[], Awaitable[FoundT]], interval_seconds: float, on_swept: Callable[[FoundT | None], None]
) -> None:
    while True:
        await asyncio.sleep(jittered(interval_seconds))
        found = None
        try:
            found = await sweep()
        except AuthError as error:
            log.warning("sweep failed, trying again", extra={"code": error.code})
        except Exception:  # one failure must not stop the loop
            log.exception("sweep failed, trying again")
        on_swept(found)


async def _tried(tenant: str, work: Awaitable[None]) -> int:
    """Await the work. Return 1, or 0 if it failed, which is logged."""
    try:
        await work
    except AuthError as error:
        log.warning("a revocation failed, trying again", extra={"tenant": tenant, "code": error.code})
        return 0
    except Exception:
        log.exception("a revocation failed, trying again", extra={"tenant": tenant})
        return 0
    return 1
