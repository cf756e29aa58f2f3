"""Each query of the adapters ends with the database's first answer: the driver does not repeat `getMore`.

A change of the primary between two answers would fail the request. The database's own first answer has 101 documents.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from shared.contracts.audit_list import MAX_RECORDS_PER_PAGE
from shared.contracts.event_list import MAX_EVENTS_PER_PAGE
from shared.contracts.events import RevocationReason
from shared.contracts.key_create import MAX_KEYS
from shared.contracts.session_list import MAX_SESSIONS
from shared.contracts.user_list import MAX_USERS_PER_PAGE
from tests.backends import Backend, with_indexes
from tests.fakes import NOW
from tests.mongo_driver import connect
from tests.records import a_session, a_tenant, a_user, an_api_key
from worker import colliding_logins, sweeper
from worker.adapters.lookups import MAX_IDS
from worker.adapters.mongo_audit import MongoAudit
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_sessions import MongoSessions
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers
from worker.domain.audit_records import AuditQuery, StoredAuditRecord
from worker.domain.records import TenantRevocation, UserRevocation
from worker.domain.session_revocation import MAX_ANNOUNCED, MAX_OVER_LIMIT
from worker.operations.event_list import MAX_UNANNOUNCED

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: More documents than any query of one operation returns.
STORED = 520
#: More than a page of `colliding_logins`, which reads the most.
USERS = colliding_logins.PAGE + 20
#: Documents per insert: the embedded database takes seconds for thousands.
CHUNK = 100
LATER = NOW + timedelta(hours=1)
TENANT, USER, SESSION = a_tenant(id="shop"), a_user(id="ann", login="ann"), a_session(enforces_limit=True)
EVERY_RECORD = AuditQuery("shop", None, frozenset(), 0, 10**14, None)


class Commands(CommandListener):
    """Remembers the names of the commands that the driver sends, and their limits of time."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.limits_ms: list[int | None] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.sent.append(event.command_name)
        if event.command_name != "killCursors":
            self.limits_ms.append(event.command.get("maxTimeMS"))

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


@dataclass(frozen=True)
class Full:
    """Adapters on a database in which every query finds more documents than it returns."""

    tenants: MongoTenants
    users: MongoUsers
    sessions: MongoSessions
    audit: MongoAudit
    database: MongoDatabase
    commands: Commands


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def full(backend: Backend) -> AsyncIterator[Full]:
    commands, url = Commands(), await with_indexes(backend.database_url())
    async with connect(url, [commands]) as database:
        full = Full(
            MongoTenants(database),
            MongoUsers(database),
            MongoSessions(database),
            MongoAudit(database, timedelta(days=1)),
            database,
            commands,
        )
        await full.tenants.add(TENANT)
        await full.users.add(USER)
        await full.sessions.add(SESSION)
        record = StoredAuditRecord("0" * 32, "shop", NOW, "auth.login", "failed")
        await full.audit.append(record)
        decided = {"ending": {"generation": 1, "reason": RevocationReason.ALL_REVOKED.value, "at": NOW}}
        await copied(database, "tenants", STORED, lambda name: {"email": f"{name}@example.com", **decided})
        await copied(database, "users", USERS, lambda name: {"login": name, **decided})
        await copied(database, "sessions", STORED, lambda name: {"opened_by": name})
        unannounced = {"reason": RevocationReason.LOGOUT.value, "at": NOW}
        await copied(
            database,
            "sessions",
            STORED,
            lambda name: {"opened_by": f"outbox {name}", "outbox": NOW, "revocation": unannounced},
            "outbox",
        )
        announced = {**unannounced, "announced_at": NOW}
        await copied(
            database,
            "sessions",
            STORED,
            lambda name: {"opened_by": f"announced {name}", "revocation": announced},
            "announced",
        )
        await copied(database, "audit", STORED, lambda _: {})
        for _ in range(MAX_KEYS + 2):
            await full.sessions.add(an_api_key()[0])
        yield full
        owner = database.collection("users").database
        await owner.client.drop_database(owner.name)


async def copied(
    database: MongoDatabase, name: str, number: int, changes: Callable[[str], dict[str, Any]], prefix: str = "copy"
) -> None:
    """Store this many copies of the collection's first document, with these changes."""
    collection = database.collection(name)
    first = await collection.find_one({})
    assert first is not None
    copies = [{**first, "_id": f"{prefix}-{each:032}", **changes(f"{each:032}")} for each in range(number)]
    for begin in range(0, number, CHUNK):
        await collection.insert_many(copies[begin : begin + CHUNK])


def ids(number: int) -> Sequence[str]:
    return [f"copy-{each:032}" for each in range(number)]


#: The queries of many documents with their largest limits, and the number of documents that each finds.
QUERIES: dict[str, tuple[int, Callable[[Full], Awaitable[Collection[object]]]]] = {
    "lookup of sessions": (MAX_IDS, lambda on: on.sessions.find(ids(MAX_IDS))),
    "session.list": (MAX_SESSIONS, lambda on: on.sessions.live_of_user(USER, NOW, MAX_SESSIONS)),
    "key.list": (MAX_KEYS + 1, lambda on: on.sessions.live_keys("shop", NOW, MAX_KEYS + 1)),
    "session limit": (MAX_OVER_LIMIT, lambda on: on.sessions.over_limit(SESSION, 1, NOW, MAX_OVER_LIMIT)),
    "session limit of the sweep": (sweeper.BATCH, lambda on: on.sessions.enforcing_limit("shop", LATER, sweeper.BATCH)),
    "events of the sweep": (sweeper.BATCH, lambda on: on.sessions.unannounced("shop", LATER, sweeper.BATCH)),
    "event.list, being published": (
        MAX_UNANNOUNCED,
        lambda on: on.sessions.unannounced_of("shop", MAX_UNANNOUNCED),
    ),
    "event.list": (
        MAX_EVENTS_PER_PAGE + 1,
        lambda on: on.sessions.announced_after("shop", NOW, "", MAX_EVENTS_PER_PAGE + 1),
    ),
    "session.revoke_all": (
        MAX_ANNOUNCED,
        lambda on: on.sessions.revoke_older(
            UserRevocation("shop", "ann", "ann", 0, RevocationReason.ALL_REVOKED), LATER, MAX_ANNOUNCED
        ),
    ),
    "tenant.logout": (
        0,
        lambda on: on.sessions.revoke_of_tenant(
            TenantRevocation("shop", 0, RevocationReason.ALL_REVOKED), LATER, MAX_ANNOUNCED
        ),
    ),
    "user.list": (MAX_USERS_PER_PAGE + 1, lambda on: on.users.page("shop", "", "", MAX_USERS_PER_PAGE + 1)),
    "user.list, search": (MAX_USERS_PER_PAGE + 1, lambda on: on.users.page("shop", "ann", "", MAX_USERS_PER_PAGE + 1)),
    "users of the sweep": (
        sweeper.BATCH,
        lambda on: on.users.unfinished_revocations("shop", LATER, sweeper.BATCH),
    ),
    "tenants of the sweep": (sweeper.BATCH, lambda on: on.tenants.unfinished_revocations(LATER, sweeper.BATCH)),
    "tenants with unfinished users": (1, lambda on: on.users.tenants_with_unfinished_revocations(LATER)),
    "logins": (colliding_logins.PAGE, lambda on: on.users.logins("shop", "", colliding_logins.PAGE)),
    "spellings": (
        colliding_logins.PAGE,
        lambda on: on.users.spelled("shop", [f"{each:032}" for each in range(colliding_logins.PAGE)]),
    ),
    "tenants": (STORED, lambda on: on.tenants.page("", "", STORED)),
    "audit.list": (MAX_RECORDS_PER_PAGE + 1, lambda on: on.audit.page(EVERY_RECORD, MAX_RECORDS_PER_PAGE + 1)),
}


@pytest.mark.parametrize("name", QUERIES)
async def test_query_of_the_largest_size_ends_with_the_first_answer(full: Full, name: str) -> None:
    """It also tells the database when its caller stops waiting (`maxTimeMS`)."""
    number, query = QUERIES[name]
    full.commands.sent.clear()
    full.commands.limits_ms.clear()
    assert len(await query(full)) == number
    assert full.commands.sent
    assert "getMore" not in full.commands.sent
    assert None not in full.commands.limits_ms
