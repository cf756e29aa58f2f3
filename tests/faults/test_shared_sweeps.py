"""Eight workers on one database and one broker divide the work that a lost worker left behind."""

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from shared.contracts.events import RevocationReason
from tests import fakes
from tests.backends import with_indexes
from tests.faults.profile import LONG, note
from tests.mongo_driver import connect
from tests.records import a_key, a_session, a_tenant
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_sessions import MongoSessions
from worker.adapters.mongo_sweep_leases import MongoSweepLeases
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers
from worker.adapters.system_clock import SystemClock
from worker.amqp.events import AmqpEvents
from worker.domain.ports import Ports
from worker.domain.records import Revocation
from worker.sweeper import GRACE, sweep_forever

#: The embedded database takes minutes for 3,000; a mongod is fast enough for FAULTS_SESSIONS=20000.
SESSIONS = int(os.environ.get("FAULTS_SESSIONS", "3000" if LONG else "600"))
WORKERS = 8
BATCH = 200
#: Each session is revoked and, after its event, crossed off.
LEAST = 2 * SESSIONS
TIMEOUT_SECONDS = 1_800 if LONG else 240
POLL_SECONDS = 2.0 if LONG else 0.2


class Updates(CommandListener):
    """Counts the documents of `sessions` that updates matched; an update that matched none counts as one."""

    def __init__(self) -> None:
        self.number = 0
        self._statements: dict[int, int] = {}

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name == "update" and event.command["update"] == "sessions":
            self._statements[event.request_id] = len(event.command["updates"])

    def succeeded(self, event: CommandSucceededEvent) -> None:
        if statements := self._statements.pop(event.request_id, 0):
            self.number += max(event.reply["n"], statements)

    def failed(self, event: CommandFailedEvent) -> None:
        self.number += self._statements.pop(event.request_id, 0)


@contextlib.asynccontextmanager
async def sweeping_worker(amqp_url: str, mongo_url: str, updates: Updates) -> AsyncIterator[None]:
    """Sweep as a worker does, on connections of its own."""
    name = uuid.uuid4().hex
    async with connect(mongo_url, [updates]) as database:
        sessions, clock = MongoSessions(database), SystemClock()
        async with AmqpEvents([amqp_url], name, "test", sessions, clock) as events:
            ports: Ports = fakes.ports(
                tenants=MongoTenants(database),
                users=MongoUsers(database),
                sessions=sessions,
                events=events,
                sweep_leases=MongoSweepLeases(database, name),
                clock=clock,
            )
            sweeping = asyncio.create_task(sweep_forever(ports))
            try:
                yield
            finally:
                sweeping.cancel()
                await asyncio.gather(sweeping, return_exceptions=True)
                await events.drain(10)


async def left_behind(database: MongoDatabase) -> None:
    """Store a tenant that a worker disabled and whose users' sessions it did not revoke."""
    now = SystemClock().now()
    tenant = a_tenant(id="big", email="big@example.com")
    await MongoTenants(database).add(tenant)
    session = a_session(tenant="big", user="ann", issued_at=now, expires_at=now + timedelta(days=1))
    sessions = MongoSessions(database)
    await sessions.add(session)
    document = await database.collection("sessions").find_one({"_id": session.id})
    assert document is not None
    copies = [{**document, "_id": uuid.uuid4().hex, "opened_by": uuid.uuid4().hex} for _ in range(SESSIONS - 1)]
    for begin in range(0, len(copies), BATCH):
        await database.collection("sessions").insert_many(copies[begin : begin + BATCH])
    key = replace(a_key(), at=now - GRACE)
    await MongoTenants(database).decide_revocation("big", RevocationReason.TENANT_DISABLED, key)


async def is_left(database: MongoDatabase, tenant: str) -> bool:
    """Whether events of the tenant are left to publish, or sessions of it to revoke."""
    if await database.collection("tenants").find_one({"_id": tenant, "ending": {"$exists": True}}, ["_id"]):
        return True
    wanted = {"tenant": tenant, "outbox": {"$lte": SystemClock().now()}}
    return await database.collection("sessions").find_one(wanted, ["_id"]) is not None


async def test_eight_workers_share_a_tenant_of_many_sessions(amqp_url: str, mongo_url: str) -> None:
    """They update hardly more documents than one worker would, and another tenant's event does not wait for them."""
    await with_indexes(mongo_url)
    updates = Updates()
    async with contextlib.AsyncExitStack() as stack:
        # The embedded database needs seconds for a look at many sessions.
        database = await stack.enter_async_context(connect(mongo_url, socket_timeout_ms=None))
        await left_behind(database)
        for _ in range(WORKERS):
            await stack.enter_async_context(sweeping_worker(amqp_url, mongo_url, updates))
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not updates.number:  # noqa: ASYNC110 - the workers bring it about, and all else here
                await asyncio.sleep(0.1)
            small = a_session(tenant="small", expires_at=SystemClock().now() + timedelta(days=1))
            sessions = MongoSessions(database)
            await sessions.add(small)
            began = time.monotonic()
            # Due at once: its worker was lost five seconds ago.
            await sessions.revoke(small, Revocation(SystemClock().now() - GRACE, RevocationReason.LOGOUT))
            while await is_left(database, "small"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            seconds, still_sweeping = time.monotonic() - began, await is_left(database, "big")
            while await is_left(database, "big"):  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)
        revoked = {"tenant": "big", "revocation.announced_at": {"$exists": True}}
        assert await database.collection("sessions").count_documents(revoked) == SESSIONS
    note(
        f"{WORKERS} workers, a tenant of {SESSIONS} sessions: {updates.number / LEAST:.2f} times the least updates; "
        f"another tenant's event after {seconds:.1f} s"
    )
    assert updates.number <= 1.2 * LEAST
    assert still_sweeping
    if LONG:
        assert seconds <= 5
