"""Events of a tenant while another tenant's queues refuse or slow down events."""

import asyncio
import base64
import contextlib
import json
import secrets
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aio_pika
import pymongo
import pytest
import pytest_asyncio
from pymongo.collection import Collection
from yarl import URL

from deploy import permissions
from deploy.definitions import Account, Service, definitions
from deploy.permissions import SERVICE_OPERATIONS
from shared.amqp.rpc_client import RpcClient
from shared.amqp.topology import EVENTS_EXCHANGE
from shared.contracts.auth_login import AUTH_LOGIN
from shared.contracts.auth_logout import AUTH_LOGOUT
from shared.contracts.errors import Unavailable
from shared.contracts.event_list import EVENT_LIST
from shared.contracts.events import SessionRevokedEvent, revocations_key
from shared.contracts.health import HEALTH, HealthRequest
from shared.contracts.operation import Lane
from shared.contracts.session_revoke_all import SESSION_REVOKE_ALL, SessionRevokeAllRequest
from shared.contracts.tenant_register import TENANT_REGISTER
from shared.contracts.token_introspect import TOKEN_INTROSPECT
from shared.contracts.user_create import USER_CREATE
from tests.backends import Backend, with_indexes
from worker.domain.retries import FIRST_DELAY
from worker.main import serve
from worker.settings import Settings

PATIENCE_SECONDS = 30
#: Seconds within which a victim's event is announced.
WITHIN_SECONDS = 10
#: More than one sweep announces.
SESSIONS = 600
#: More than all sweeps announce within that time.
BACKLOG = 4_000
#: RabbitMQ takes some seconds per event for each of these.
SLOW_EXCHANGES = 10
QUEUES = 1_500
#: Sessions of the victim that are revoked, one after another.
VICTIMS = 2
#: Documents per write.
BATCH = 300
PASSWORD = "correct horse battery"
REGISTRATION_KEY = "registration key"
ATTACKER, VICTIM = "attacker", "victim"

Sessions = Collection[dict[str, Any]]


@dataclass(frozen=True)
class Party:
    """A tenant with its token, and a user with the tokens of two sessions."""

    id: str
    token: str
    user_tokens: tuple[str, ...]


@dataclass(frozen=True)
class World:
    """A worker, an edge's connection, two tenants, and URLs of the administrator and the attacker."""

    rpc: RpcClient
    attacker: Party
    victim: Party
    attackers_url: str
    admin_url: str
    sessions: Sessions


@pytest_asyncio.fixture
async def world(backend: Backend, tmp_path: Path) -> AsyncIterator[World]:
    if backend.kind != "local":
        pytest.skip("imports a file, which a container does not see")
    admin_url, mongo_url = await backend.vhost(), await with_indexes(backend.database_url())
    roles = {"edge": permissions.edge(), "worker": permissions.worker()}
    urls = await _import(backend, tmp_path, admin_url, roles)
    environment: dict[str, Any] = {
        "AMQP_URL": urls["worker"],
        "AUTH_DECLARE_TOPOLOGY": False,
        "MONGO_URL": mongo_url,
        "AUTH_LANES": ",".join(Lane),
        "AUTH_MASTER_KEYS": f"test:{base64.b64encode(secrets.token_bytes(32)).decode()}",
        "AUTH_REGISTRATION_KEY": REGISTRATION_KEY,
    }
    stop = asyncio.Event()
    working = asyncio.create_task(serve(Settings(**environment), stop))
    try:
        async with RpcClient([urls["edge"]], "test edge", declare=False) as rpc:
            await _until_served(rpc)
            attacker, victim = [await _account(rpc, name) for name in (ATTACKER, VICTIM)]
            services = {ATTACKER: permissions.service(ATTACKER, attacker.id)}
            urls |= await _import(backend, tmp_path, admin_url, services, [Service(ATTACKER, SERVICE_OPERATIONS)])
            with _collection(mongo_url) as sessions:
                yield World(rpc, attacker, victim, urls[ATTACKER], admin_url, sessions)
    finally:
        stop.set()
        await working


async def _import(
    backend: Backend,
    directory: Path,
    admin_url: str,
    roles: Mapping[str, permissions.Permissions],
    services: Sequence[Service] = (),
) -> dict[str, str]:
    """Import the users and return the URL of each role, as `python -m deploy` would create them."""
    vhost = URL(admin_url).path.removeprefix("/")
    accounts = {role: Account(f"{role}-{vhost}", secrets.token_urlsafe(16), roles[role]) for role in roles}
    path = directory / f"{uuid.uuid4().hex}.json"
    path.write_text(json.dumps(definitions(vhost, list(accounts.values()), services)))
    await backend.ctl(["import_definitions", str(path)])
    return {
        role: str(URL(admin_url).with_user(account.user).with_password(account.password))
        for role, account in accounts.items()
    }


async def _until_served(rpc: RpcClient) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        for lane in Lane:
            while True:
                with contextlib.suppress(Unavailable):
                    await rpc.call(HEALTH[lane], HealthRequest())
                    break
                await asyncio.sleep(0.05)


async def _account(rpc: RpcClient, name: str) -> Party:
    registration = TENANT_REGISTER.request(
        email=f"{name}@tenant.test", password=PASSWORD, registration_key=REGISTRATION_KEY
    )
    tenant = await rpc.call(TENANT_REGISTER, registration)
    ann = {"tenant_token": tenant.token, "login": "ann", "password": PASSWORD}
    await rpc.call(USER_CREATE, USER_CREATE.request(email="ann@users.test", **ann))
    logins = [await rpc.call(AUTH_LOGIN, AUTH_LOGIN.request(device_id=device, **ann)) for device in ("phone", "pad")]
    return Party(tenant.id, tenant.token, tuple(login.access_token for login in logins))


@contextlib.contextmanager
def _collection(mongo_url: str) -> Iterator[Sessions]:
    with pymongo.MongoClient[dict[str, Any]](mongo_url) as client:
        yield client.get_default_database()["sessions"]


async def test_tenant_whose_queue_refuses_everything_does_not_delay_other_tenants(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Events of a logout and of a crashed worker are announced. The connection for events stays open."""
    caplog.set_level("INFO")
    async with (
        await aio_pika.connect(world.attackers_url) as attacker,
        attacker.channel() as attackers_channel,
        _received(world, world.victim) as received,
    ):
        refusing = await attackers_channel.declare_queue(
            f"sub.{ATTACKER}.refusing", exclusive=True, arguments={"x-max-length": 0, "x-overflow": "reject-publish"}
        )
        await refusing.bind(EVENTS_EXCHANGE, revocations_key(world.attacker.id))
        await _multiply(world.sessions, world.attacker, SESSIONS)
        everything = SESSION_REVOKE_ALL.request(tenant_token=world.attacker.token, login="ann")
        await _until_done(world.rpc, everything)
        attacked_at = asyncio.get_running_loop().time()
        await asyncio.sleep(0.01)  # the victim's pending event is younger than the attacker's

        unannounced = await _leave_unannounced(world.sessions, world.victim)
        logout = AUTH_LOGOUT.request(tenant_token=world.victim.token, token=world.victim.user_tokens[1])
        await world.rpc.call(AUTH_LOGOUT, logout)
        async with asyncio.timeout(WITHIN_SECONDS):
            session = {await received.get(), await received.get()}
        assert unannounced in session
        assert len(session) == 2

        # Until the refused events are retried.
        await asyncio.sleep(attacked_at + 3 * FIRST_DELAY.total_seconds() - asyncio.get_running_loop().time())
        lost_connections = [record for record in caplog.records if "is lost" in record.getMessage()]
        assert [vars(record)["connection"] for record in lost_connections] == []
        listed = await world.rpc.call(EVENT_LIST, EVENT_LIST.request(tenant_token=world.attacker.token, limit=256))
        assert len(listed.events) >= 256, "the attacker's own list has what its queue refuses"


async def test_tenant_with_a_long_backlog_does_not_delay_other_tenants(world: World) -> None:
    """The backlog is older, and nothing refuses it."""
    await _multiply(world.sessions, world.attacker, BACKLOG)
    async with _received(world, world.victim) as received:
        now = datetime.now(UTC)
        ended = {"revocation": {"at": now, "reason": "logout"}, "outbox": now}
        await asyncio.to_thread(world.sessions.update_many, {"tenant": world.attacker.id}, {"$set": ended})
        unannounced = await _leave_unannounced(world.sessions, world.victim)
        async with asyncio.timeout(WITHIN_SECONDS):
            assert await received.get() == unannounced
        assert world.sessions.count_documents({"tenant": world.attacker.id, "outbox": {"$exists": True}}) > BATCH


async def test_slow_bindings_of_a_tenant_do_not_delay_other_tenants(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """A topic exchange of the attacker with a hostile pattern makes RabbitMQ try some 180,000 matches
    per event. The attacker's events are still listed.
    """
    caplog.set_level("INFO")
    async with (
        await aio_pika.connect(world.attackers_url) as attacker,
        attacker.channel() as channel,
        _received(world, world.victim) as received,
    ):
        queue = await channel.declare_queue(f"sub.{ATTACKER}.queue", exclusive=True)
        events = await channel.get_exchange(EVENTS_EXCHANGE, ensure=False)
        exchanges = [
            await channel.declare_exchange(f"sub.{ATTACKER}.{number}", "topic") for number in range(SLOW_EXCHANGES)
        ]
        for exchange in exchanges:
            await queue.bind(exchange, ".".join([*100 * "#", "z"]))
            await exchange.bind(events, revocations_key(world.attacker.id))
        try:
            await _until_done(world.rpc, SESSION_REVOKE_ALL.request(tenant_token=world.attacker.token, login="ann"))
            await asyncio.sleep(1)  # the attacker's events are being published
            for number in range(VICTIMS):
                session = await _logged_out(world, number)
                async with asyncio.timeout(WITHIN_SECONDS):
                    while await received.get() != session:
                        pass
            lost_connections = [record for record in caplog.records if "is lost" in record.getMessage()]
            assert [vars(record)["connection"] for record in lost_connections] == []
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not (await _listed(world)):  # noqa: ASYNC110 - the worker changes the condition
                    await asyncio.sleep(0.5)
        finally:
            for exchange in exchanges:
                await exchange.delete()


async def test_thousands_of_queues_of_a_tenant_do_not_delay_other_tenants(world: World) -> None:
    await _multiply(world.sessions, world.attacker, SESSIONS // 6)
    async with (
        await aio_pika.connect(world.attackers_url) as attacker,
        attacker.channel() as channel,
        _received(world, world.victim) as received,
    ):
        for number in range(QUEUES):
            queue = await channel.declare_queue(f"sub.{ATTACKER}.{number}", exclusive=True)
            await queue.bind(EVENTS_EXCHANGE, revocations_key(world.attacker.id))
        await _until_done(world.rpc, SESSION_REVOKE_ALL.request(tenant_token=world.attacker.token, login="ann"))
        for number in range(VICTIMS):
            session = await _logged_out(world, number)
            async with asyncio.timeout(WITHIN_SECONDS):
                while await received.get() != session:
                    pass


async def _logged_out(world: World, number: int) -> str:
    """Log out one of the victim's two sessions and return its id."""
    token = world.victim.user_tokens[number]
    claims = await world.rpc.call(
        TOKEN_INTROSPECT, TOKEN_INTROSPECT.request(tenant_token=world.victim.token, token=token)
    )
    await world.rpc.call(AUTH_LOGOUT, AUTH_LOGOUT.request(tenant_token=world.victim.token, token=token))
    return str(claims.jti)


async def _listed(world: World) -> bool:
    """Return whether the attacker's list of events has any."""
    listed = await world.rpc.call(EVENT_LIST, EVENT_LIST.request(tenant_token=world.attacker.token, limit=256))
    return bool(listed.events)


async def _until_done(rpc: RpcClient, everything: SessionRevokeAllRequest) -> None:
    """Revoke all the user's sessions, with retries: a busy database may take longer than one request."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with contextlib.suppress(Unavailable):
                await rpc.call(SESSION_REVOKE_ALL, everything)
                return


@contextlib.asynccontextmanager
async def _received(world: World, tenant: Party) -> AsyncIterator["asyncio.Queue[str]"]:
    """Yield the sessions whose revocations a subscriber of the tenant receives."""
    received: asyncio.Queue[str] = asyncio.Queue()

    async def hear(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        received.put_nowait(SessionRevokedEvent.model_validate_json(message.body).data.session_id)

    async with await aio_pika.connect(world.admin_url) as connection, connection.channel() as channel:
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(EVENTS_EXCHANGE, revocations_key(tenant.id))
        await queue.consume(hear, no_ack=True)
        yield received


async def _multiply(sessions: Sessions, account: Party, number: int) -> None:
    """Insert copies of the user's session."""
    opened = sessions.find_one({"tenant": account.id, "user": {"$ne": None}})
    assert opened is not None
    copies = [{**opened, "_id": uuid.uuid4().hex, "opened_by": uuid.uuid4().hex} for _ in range(number)]
    for begin in range(0, len(copies), BATCH):
        await asyncio.to_thread(sessions.insert_many, copies[begin : begin + BATCH])


async def _leave_unannounced(sessions: Sessions, account: Party) -> str:
    """Revoke the user's first session as a worker that dies before the announcement, and return its id."""
    now = datetime.now(UTC)
    first = sessions.find_one({"tenant": account.id, "user": {"$ne": None}, "device_id": "phone"})
    assert first is not None
    ended = {"revocation": {"at": now, "reason": "logout"}, "outbox": now}
    assert sessions.update_one({"_id": first["_id"]}, {"$set": ended}).modified_count == 1
    return str(first["_id"])
