"""The role of the workers' database user, against the commands that workers send.

The embedded database checks actions for a whole database only, so it cannot show that a role lacks a collection.
"""

from collections import defaultdict
from datetime import timedelta

import pytest
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from tests.contract.test_steps import REQUESTS, begin, send
from tests.database_roles import access
from tests.fakes import NOW
from tests.mongo_driver import connect
from tests.records import a_key, a_session, a_tenant, a_user
from worker.adapters.mongo_activity import MongoActivity
from worker.adapters.mongo_attempts import MongoAttempts
from worker.adapters.mongo_audit import MongoAudit
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_indexes import create_indexes
from worker.adapters.mongo_sessions import MongoSessions
from worker.adapters.mongo_sweep_leases import MongoSweepLeases
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers
from worker.domain.attempts import Limit
from worker.domain.audit_records import AuditQuery, StoredAuditRecord

#: https://www.mongodb.com/docs/manual/reference/command/: the action that a command needs.
ACTIONS = {"find": "find", "distinct": "find", "insert": "insert", "update": "update", "delete": "remove"}
#: Commands that need no privilege, or only that of the command whose cursor they use.
FREE = {"hello", "ping", "getMore", "killCursors", "endSessions", "saslStart", "saslContinue"}
LIMIT = Limit(5, timedelta(seconds=60), timedelta(hours=1))


class Needed(CommandListener):
    """Notes the actions that commands need, by collection."""

    def __init__(self) -> None:
        self.actions: dict[str, set[str]] = defaultdict(set)

    def started(self, event: CommandStartedEvent) -> None:
        name, command = event.command_name, event.command
        if name in FREE:
            return
        needed = self.actions[command[name]]
        if name == "listIndexes":
            needed.add("listIndexes")
        elif name == "aggregate":
            assert [list(stage) for stage in command["pipeline"]] == [["$indexStats"]]
            needed.add("indexStats")
        else:
            needed.add(ACTIONS[name])
        if any(update.get("upsert") for update in command.get("updates", ())):
            needed.add("insert")

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


@pytest.fixture(scope="module")
def granted() -> dict[str, set[str]]:
    return access().actions("worker")


async def test_worker_role_allows_exactly_the_commands_of_workers(mongo_url: str, granted: dict[str, set[str]]) -> None:
    """Every operation that writes, sweeps, and what workers do beside requests."""
    async with connect(mongo_url) as database:
        await create_indexes(database)
    needed = Needed()
    async with connect(mongo_url, [needed]) as database:
        await database.wait_for_indexes()
        for name in REQUESTS:
            world = await begin(database, name)
            await send(world, name)
            await world.sweep()
        await _beside_requests(database)
    assert dict(needed.actions) == granted


async def _beside_requests(database: MongoDatabase) -> None:
    assert await database.ping()
    users, attempts, audit = MongoUsers(database), MongoAttempts(database), MongoAudit(database, timedelta(days=1))
    await users.add_new([a_user()])
    await users.page("shop", "", "", 10)
    await MongoTenants(database).enable(a_tenant().id, a_key())
    session = await MongoSessions(database).add(a_session())
    await MongoSessions(database).announced(session, NOW)
    await attempts.count("key", None, LIMIT, NOW)
    await attempts.keep("key", NOW, NOW)
    await attempts.find(["key"])
    await attempts.forget("key")
    record = StoredAuditRecord(id=f"{1:032x}", tenant="shop", at=NOW, type="auth.login", outcome="throttled")
    for _ in range(2):
        audit.attempted(record)
        await audit.write()
    await audit.append(record)
    await audit.page(AuditQuery("shop", None, frozenset(), 0, 253_402_300_799_999, None), 10)
    sweep_leases = MongoSweepLeases(database, "a worker")
    await sweep_leases.take(["shop"], NOW, NOW)
    await sweep_leases.release()
    activity = MongoActivity(database)
    activity.seen(a_session(), NOW)
    await activity.write()
