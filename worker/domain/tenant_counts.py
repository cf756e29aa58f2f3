"""How many users and live sessions tenants have: counted for a reply up to a limit, beyond it in the background."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from shared.contracts.tenant import MAX_EXACT_COUNT, Count, Tenant
from worker.domain.ports import Ports
from worker.domain.records import StoredCounts, StoredTenant
from worker.domain.views import milliseconds

#: Counts of large tenants that are older than this are renewed after a reply has shown them.
MAX_AGE = timedelta(minutes=10)
#: Tenants counted at a time for one reply, so that it leaves connections to other requests.
AT_A_TIME = 8


async def with_counts(tenants: Sequence[StoredTenant], ports: Ports) -> tuple[Tenant, ...]:
    """Return the view of these tenants for operators.

    Counts are never kept up to date by adding and subtracting: sessions expire without a write that could subtract.
    """
    now = ports.clock.now()
    at_a_time = asyncio.Semaphore(AT_A_TIME)
    outdated: list[str] = []

    async def view(tenant: StoredTenant) -> Tenant:
        async with at_a_time:
            users = await ports.users.count(tenant.id, MAX_EXACT_COUNT + 1)
            sessions = await ports.sessions.count_of_users(tenant.id, now, MAX_EXACT_COUNT + 1)
        counts = tenant.counts
        if not (_is_exact(users) and _is_exact(sessions)) and (counts is None or counts.at < now - MAX_AGE):
            outdated.append(tenant.id)
        return Tenant(
            id=tenant.id,
            email=tenant.email,
            registered_at=milliseconds(tenant.registered_at),
            disabled=tenant.disabled,
            users=_count(users, counts.users if counts else None, counts, now),
            sessions=_count(sessions, counts.sessions if counts else None, counts, now),
        )

    views = tuple(await asyncio.gather(*map(view, tenants)))
    if outdated:
        await ports.tenants.request_counts(outdated, now)
    return views


async def count_all(tenant: str, ports: Ports) -> None:
    """Count all users and live sessions of a large tenant, and store the counts."""
    now = ports.clock.now()
    users = await ports.users.count(tenant, None)
    sessions = await ports.sessions.count_of_users(tenant, now, None)
    await ports.tenants.store_counts(tenant, StoredCounts(users, sessions or 0, now))


def _is_exact(counted: int | None) -> bool:
    return counted is not None and counted <= MAX_EXACT_COUNT


def _count(counted: int | None, stored: int | None, counts: StoredCounts | None, now: datetime) -> Count:
    if counted is not None and _is_exact(counted):
        return Count(value=counted, exact=True, at=milliseconds(now))
    if counts is None or stored is None:
        return Count(value=counted or 0, exact=False, at=None)
    return Count(value=stored, exact=False, at=milliseconds(counts.at))
