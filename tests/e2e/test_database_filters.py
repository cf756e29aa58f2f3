"""Filters on the large collections, in the command log of a worker that serves every operation and sweeps.

On a sharded cluster a filter with the shard key reaches one shard, and another one several or all of them. So each
filter has the key, or stands below with the reason. docs/scaling.md tells operators how often these are sent.
"""

import asyncio
import base64
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bcrypt

from dev.processes import ChildProcess
from dev.services import worker_service
from shared.amqp.rpc_client import RpcClient
from shared.contracts import OPERATIONS
from shared.contracts.errors import AuthError
from shared.contracts.events import RevocationReason
from shared.contracts.health import HEALTH
from shared.contracts.operation import Lane
from tests.backends import Backend, with_indexes
from tests.faults.mongo_link import MongoLink
from tests.import_command import Ended, ended, run_import, start_command
from tests.mongo_driver import connect
from tests.office import WITH_OFFICE, open_office
from tests.records import a_session
from tests.requests import Accounts
from tests.service import START_TIMEOUT_SECONDS, takes_requests
from worker.adapters.mongo_database import Document, MongoDatabase
from worker.adapters.mongo_sessions import MongoSessions
from worker.adapters.mongo_users import MongoUsers
from worker.domain.records import IdempotencyKey, Revocation

#: The shard keys of docs/scaling.md.
SHARD_KEYS = {"users": ("tenant", "login"), "sessions": ("_id",), "audit": ("tenant", "_id")}
#: Conditions on a field of the shard key that bound the shards: equality, and one of several values.
TARGETED = {"", "$in"}
PAGE = "a page of user.list or audit.list: the shards that have the tenant"
OPERATORS = "operator.list, in an index of operators: the shards that have the operators' tenant"
REMOVAL = "tenant.delete, every 200 users: the shards that have the tenant"
REVOCATION = "a revocation of all sessions of a user or tenant"
EVENT_LIST = "event.list"
KEYS = "key.list, and twice for each key.create"
LIVE = "session.list, and each login if AUTH_MAX_SESSIONS_PER_USER is set"
SWEEP = "every two seconds and worker, in an index that is usually empty"
SWEEP_WITH_WORK = "a sweep that found interrupted work"
SEARCH = "user.search or audit.search of an operator"
COUNT = "each tenant in a page of an operator's tenant.list, or in a tenant.get"
COUNT_OF_ALL = "a sweep, for a large tenant that an operator looked at"
#: Every other filter, by collection, with the reason. Filters on `sessions` reach all shards.
ALLOWED: dict[str, dict[str, str]] = {
    "users": {
        "find split_point $gt $lt, tenant": PAGE,
        "find login $gt $lte, tenant": PAGE,
        "find login $gt, tenant": PAGE,
        "find login $gt, search $regex, tenant": PAGE,
        "find operator_permissions $in, tenant": OPERATORS,
        "find tenant": REMOVAL,
        "delete tenant": REMOVAL,
        "find ending.at $lt": SWEEP,
        "distinct ending.at $lt, tenant $gt": SWEEP_WITH_WORK,
        "find ending.at $lt, tenant": SWEEP_WITH_WORK,
        "find _id $gt, login": SEARCH,
        "find _id $gt, email": SEARCH,
        "find login": SEARCH,
        "aggregate tenant": COUNT,
        "aggregate login $gt, tenant": COUNT_OF_ALL,
    },
    "sessions": {
        "find expires_at": "the lease of each worker, twice a second: all shards are to confirm their primary",
        "find expires_at $gt, generation, revocation $exists, tenant, user": LIVE,
        "find opened_by, tenant, user": "a repeated login that a worker of the previous version answered first",
        "update expires_at $gt, generation $lt, revocation $exists, tenant, user": REVOCATION,
        "find outbox $lte, tenant, user": REVOCATION,
        "find expires_at $gt, key $exists, revocation $exists, tenant": KEYS,
        "update expires_at $gt, key $exists, revocation $exists, tenant, tenant_generation $lt, user": REVOCATION,
        "find expires_at $gt, revocation $exists, tenant, tenant_generation $lt, user $ne": REVOCATION,
        "find outbox $lte, tenant": REVOCATION,
        "find outbox $exists, revocation.announced_at $exists, tenant": EVENT_LIST,
        "find _id $gt, revocation.announced_at, tenant": EVENT_LIST,
        "find revocation.announced_at $gt, tenant": EVENT_LIST,
        "find outbox $lt": SWEEP,
        "distinct outbox $lt, tenant $gt": SWEEP_WITH_WORK,
        "find outbox $lt, tenant": SWEEP_WITH_WORK,
        "find displaces $lt": SWEEP,
        "distinct displaces $lt, tenant $gt": SWEEP_WITH_WORK,
        "find displaces $lt, tenant": SWEEP_WITH_WORK,
        "aggregate tenant, user $gt": COUNT,
        "aggregate expires_at $gt, revocation $exists, tenant, user $gt": COUNT,
        "find tenant, user $gt": COUNT_OF_ALL,
    },
    "audit": {
        f"find {login}position $gte $lt, tenant{type_}": PAGE
        for login in ("", "login, ", "login $in, ")
        for type_ in ("", ", type")
    },
}
HEALTH_CHECKS = {operation.name for operation in HEALTH.values()}
REGISTRATION_KEY = "let-me-in-please"
PASSWORD = "correct horse battery"
#: Not in Unicode form NFC, so that its spelling is looked up.
DECOMPOSED = "ann\u0301"
MAX_SESSIONS = 2
PATIENCE_SECONDS = 60


class FilterLog:
    """The filters without the shard key, as `collection: command field operator, field …`. No operator: equality."""

    def __init__(self) -> None:
        self.filters: set[str] = set()

    def note(self, command: Mapping[str, Any]) -> None:
        name, collection = next(iter(command.items()), ("", ""))
        if not isinstance(collection, str) or collection not in SHARD_KEYS:
            return
        for wanted in _filters(name, command):
            operators = {field: _operators(condition) for field, condition in wanted.items()}
            if not all(operators.get(field) in TARGETED for field in SHARD_KEYS[collection]):
                terms = (f"{field} {operator}".rstrip() for field, operator in sorted(operators.items()))
                self.filters.add(f"{collection}: {name} {', '.join(terms)}")


def _filters(name: str, command: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    match name:
        case "insert" | "getMore" | "killCursors" | "listIndexes":
            pass
        case "aggregate" if command["pipeline"] == [{"$indexStats": {}}]:
            pass
        case "find":
            yield command["filter"]
        case "aggregate" if "$match" in command["pipeline"][0]:  # `count_documents`
            yield command["pipeline"][0]["$match"]
        case "distinct":
            yield command["query"]
        case "update" | "delete":
            yield from (statement["q"] for statement in command[f"{name}s"])
        case _:
            yield {"this test does not know its filter": None}


def _operators(condition: object) -> str:
    if isinstance(condition, Mapping) and all(key.startswith("$") for key in condition):
        return " ".join(sorted(condition))
    return ""


@dataclass(frozen=True)
class World:
    """A worker whose commands are noted, a client of it, and the database without notes."""

    rpc: RpcClient
    database: MongoDatabase
    mongo_url: str
    """The database, with notes."""

    async def call(self, operation_name: str, message_id: str | None = None, /, **fields: Any) -> Any:
        operation = OPERATIONS[operation_name]
        request = operation.request.model_validate(fields)
        return await self.rpc.call(operation, request, message_id=message_id, timeout_seconds=PATIENCE_SECONDS)

    async def register(self) -> tuple[str, str]:
        """Register a tenant with a user ann. Return its email and token."""
        email = f"{uuid.uuid4().hex}@tenant.test"
        credentials = {"email": email, "password": PASSWORD}
        token = (await self.call("tenant.register", registrationKey=REGISTRATION_KEY, **credentials)).token
        await self.call(
            "user.create", tenantToken=token, login="ann", email="ann@example.com", password=PASSWORD, scope="read"
        )
        return email, token

    async def login(self, tenant_token: str, login: str, message_id: str | None = None) -> tuple[str, str]:
        """Return a new token of the user and its session."""
        fields = {"tenantToken": tenant_token, "login": login, "password": PASSWORD, "deviceId": "phone"}
        token = (await self.call("auth.login", message_id, **fields)).access_token
        verified = await self.call("auth.verify", checks=[{"tenantToken": tenant_token, "token": token}])
        return token, verified.answers[0].unwrap().jti

    async def documents(self, collection: str, wanted: Document) -> list[Document]:
        return await self.database.collection(collection).find(wanted).to_list(None)

    async def until_none(self, collection: str, wanted: Document) -> None:
        """Wait until no document matches."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self.documents(collection, wanted):  # noqa: ASYNC110 - another process changes them
                await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def running_world(backend: Backend, directory: Path, log: FilterLog) -> AsyncIterator[World]:
    amqp_url, mongo_url = await backend.vhost(), await with_indexes(backend.database_url())
    keys = directory / "keys"
    keys.write_text(f"test:{base64.b64encode(bytes(32)).decode()}")
    async with MongoLink(mongo_url) as link, connect(mongo_url) as database:
        link.on_command = log.note
        worker = ChildProcess(
            worker_service(
                ",".join(Lane),
                amqp_url=amqp_url,
                mongo_url=link.url,
                master_keys_file=keys,
                env={
                    "AUTH_PASSWORD_NICE": "0",
                    "AUTH_ACTIVITY_SECONDS": "0.2",
                    "AUTH_MAX_SESSIONS_PER_USER": str(MAX_SESSIONS),
                    "AUTH_REGISTRATION_KEY": REGISTRATION_KEY,
                    **WITH_OFFICE,
                },
            ),
            directory,
        )
        worker.start()
        try:
            await worker.wait_until(lambda: takes_requests(worker), START_TIMEOUT_SECONDS)
            async with RpcClient([amqp_url], "test") as rpc:
                assert await rpc.wait_connected(PATIENCE_SECONDS)
                yield World(rpc, database, link.url)
        finally:
            assert await worker.terminate() == 0


async def test_every_filter_of_a_worker_has_the_shard_key_or_is_allowed(backend: Backend, tmp_path: Path) -> None:
    """An allowed filter that is never sent fails the test too."""
    log = FilterLog()
    async with running_world(backend, tmp_path, log) as world:
        await asyncio.gather(*(_twice(world, name) for name in OPERATIONS.keys() - HEALTH_CHECKS))
        await asyncio.gather(*(use(world) for use in (_lists, _logins, _sweeps, _imports, _reads_of_operators)))
    assert log.filters == {f"{collection}: {each}" for collection, allowed in ALLOWED.items() for each in allowed}


async def _twice(world: World, name: str) -> None:
    """Send a request of the operation, and send it again, as its client does after a lost reply."""
    email, tenant_token = await world.register()
    token, session = await world.login(tenant_token, "ann")
    office = await open_office(world.database, world.call)
    new_key = Accounts(email, PASSWORD, tenant_token, token, session).request("key.create")
    key = await world.call("key.create", **new_key)
    accounts = Accounts(
        email,
        PASSWORD,
        tenant_token,
        token,
        session,
        REGISTRATION_KEY,
        key.key.id,
        key.api_key,
        office.token,
        office.operator_token,
        office.operator,
        office.colleague,
        await _tenant(world, tenant_token),
    )
    code = (await world.call("tenant.reset", **accounts.request("tenant.reset"))).code
    accounts = replace(accounts, reset_code=code)
    message_id = uuid.uuid4().hex
    await world.call(name, message_id, **accounts.request(name))
    with contextlib.suppress(AuthError):  # its token may be revoked by then
        await world.call(name, message_id, **accounts.request(name))


async def _lists(world: World) -> None:
    _, token = await world.register()
    tenant = {"tenantToken": token}
    await world.database.collection("users").update_one(
        {"login": "ann", "tenant": await _tenant(world, token)},
        {"$set": {"split_point": f"{await _tenant(world, token)} ann"}},
    )
    for fields in ({}, {"q": "ann"}):
        await world.call("user.list", **tenant, **fields)
    for fields in ({}, {"login": "ann"}, {"login": DECOMPOSED}, {"type": "auth.login"}):
        await world.call("audit.list", **tenant, **fields)
    await world.call("audit.list", **tenant, type="auth.login", login="ann")
    await world.call("audit.list", **tenant, type="auth.login", login=DECOMPOSED)
    with contextlib.suppress(AuthError):
        await world.call("user.get", **tenant, login=DECOMPOSED)


async def _logins(world: World) -> None:
    """Log in more often than sessions are kept, and once more as the repetition of a login at an older worker."""
    _, token = await world.register()
    for _ in range(MAX_SESSIONS):
        await world.login(token, "ann")
    message_id = uuid.uuid4().hex
    _, session = await world.login(token, "ann", message_id)
    sessions = world.database.collection("sessions")
    await sessions.create_index([("tenant", 1), ("user", 1), ("opened_by", 1)], unique=True)
    (document,) = await world.documents("sessions", {"_id": session})
    await sessions.delete_one({"_id": session})
    await sessions.insert_one({**document, "_id": uuid.uuid4().hex})
    _, repeated = await world.login(token, "ann", message_id)
    assert repeated != session
    await world.until_none("users", {"tenant": document["tenant"], "last_active_at": {"$lt": document["issued_at"]}})


async def _sweeps(world: World) -> None:
    """Leave behind what a worker leaves behind that dies in the middle of a request."""
    _, token = await world.register()
    _, session = await world.login(token, "ann")
    (document,) = await world.documents("sessions", {"_id": session})
    owner = {"tenant": document["tenant"], "user": document["user"], "login": "ann"}
    sessions = MongoSessions(world.database)
    long_ago = datetime.now(UTC) - timedelta(minutes=1)
    await sessions.add(a_session(**owner, enforces_limit=True, issued_at=long_ago))
    # A session of another user: the decision below announces those of ann.
    revoked = await sessions.add(a_session(**{**owner, "user": "bob", "login": "bob"}))
    await sessions.revoke(revoked, Revocation(long_ago, RevocationReason.LOGOUT))
    await MongoUsers(world.database).decide_revocation(
        document["tenant"], "ann", RevocationReason.ALL_REVOKED, IdempotencyKey("request", long_ago)
    )
    await world.until_none("users", {"tenant": owner["tenant"], "ending": {"$exists": True}})
    for field in ("displaces", "outbox"):
        await world.until_none("sessions", {"tenant": owner["tenant"], field: {"$exists": True}})


async def _imports(world: World) -> None:
    """Import a user, whose login then replaces the hash, and look for logins that collide."""
    email, token = await world.register()
    password_hash = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()
    lines = [
        {"login": login, "email": "bob@example.com", "passwordHash": password_hash} for login in ("bob", DECOMPOSED)
    ]
    text = "\n".join(map(json.dumps, lines)).encode()
    done = await run_import("--tenant", email, "-", text=text, mongo_url=world.mongo_url)
    assert done == Ended(0, ["2 imported, 0 there already, 0 refused"], [])
    await world.login(token, "bob")
    assert not await world.documents("users", {"password_hash": password_hash, "login": "bob"})
    assert (await ended(await start_command("worker.colliding_logins", mongo_url=world.mongo_url))).code == 0


async def _reads_of_operators(world: World) -> None:
    """Count all users and sessions of a tenant, as the sweep does for large ones."""
    _, token = await world.register()
    tenant = await _tenant(world, token)
    async with connect(world.mongo_url) as database:
        users, sessions = MongoUsers(database), MongoSessions(database)
        assert len(await users.named({"ann"}, "", 10)) > 0
        assert len(await users.tenants_of({"ann"}, 10)) > 0
        for limit in (10, None):
            assert await users.count(tenant, limit) == 1
            assert await sessions.count_of_users(tenant, datetime.now(UTC), limit) == 0


async def _tenant(world: World, token: str) -> str:
    return str((await world.call("tenant.verify", token=token)).decoded.tenant)
