"""The broker's users as deploy/ makes them: each role does its work, and everything else is refused."""

import asyncio
import base64
import contextlib
import json
import secrets
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aio_pika
import httpx
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractIncomingMessage
from aio_pika.exceptions import PublishError
from aiormq.exceptions import ChannelAccessRefused, ChannelPreconditionFailed
from fastapi import Depends, FastAPI
from yarl import URL

import api.check
import api.settings
from deploy import permissions
from deploy.definitions import Account, Service, definitions
from deploy.permissions import (
    CLIENT_OPERATIONS,
    QUEUE_LENGTH,
    SERVICE_OPERATIONS,
    service_operations,
)
from shared.amqp.feed import RevocationFeed
from shared.amqp.rpc_client import RpcClient
from shared.amqp.topology import (
    EVENTS_EXCHANGE,
    PROBES_EXCHANGE,
    RPC_EXCHANGE,
    health_queue,
    lane_queue,
    service_exchange,
)
from shared.client import AuthClient
from shared.contracts.errors import InvalidCredentials, RegistrationForbidden, Throttled, Unavailable
from shared.contracts.health import HEALTH, HealthRequest
from shared.contracts.operation import Lane
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.tenant_register import TENANT_REGISTER
from shared.fastapi import FastApiAuth
from tests.backends import Backend
from worker.check import problems as worker_problems
from worker.main import serve
from worker.settings import Settings

#: One loop for all of them: the worker runs on it.
pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENCE_SECONDS = 30
PASSWORD = "correct horse battery"
EMAIL, OTHER_EMAIL = "shop@tenant.test", "shopping@tenant.test"
#: A service, and another one whose name begins alike.
SHOP, SHOPPING = "shop", "shopping"
LIMITED = ("auth.login", "auth.verify")
REGISTRATION_KEY = "registration key"
#: Tenants may register from there.
NETWORK, IN_NETWORK = "10.77.0.0/16", "10.77.1.2"
#: The tenant logs in from there, through the edge.
HOME = "192.0.2.1"
#: More wrong passwords than are free in a row, by default.
GUESSES = 8
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@dataclass(frozen=True)
class Broker:
    """A virtual host with the users of deploy/, a worker on it, and the tenant of the service."""

    backend: Backend
    admin: str
    urls: dict[str, str]
    tenant: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broker(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Broker]:
    """Made as an operator would: edge and worker first, and a service once its tenant is registered."""
    if backend.kind != "local":
        pytest.skip("imports a file, which a container does not see")
    directory = tmp_path_factory.mktemp("permissions")
    admin = await backend.vhost()
    roles = {"edge": permissions.edge(), "worker": permissions.worker(), QUEUE_LENGTH: permissions.queue_length()}
    urls = await _import(backend, directory, admin, roles, [])
    environment: dict[str, Any] = {
        "AMQP_URL": urls["worker"],
        "AUTH_DECLARE_TOPOLOGY": False,
        "MONGO_URL": backend.database_url(),
        "AUTH_LANES": ",".join(Lane),
        "AUTH_MASTER_KEYS": f"test:{base64.b64encode(secrets.token_bytes(32)).decode()}",
        "AUTH_REGISTRATION_KEY": REGISTRATION_KEY,
        "AUTH_REGISTRATION_NETWORKS": NETWORK,
    }
    settings = Settings(**environment)
    stop = asyncio.Event()
    working = asyncio.create_task(serve(settings, stop))
    try:
        async with RpcClient([urls["edge"]], "test edge", declare=False) as rpc:
            await until_served(rpc)
            tenants = [
                await rpc.call(
                    TENANT_REGISTER,
                    TENANT_REGISTER.request(email=email, password=PASSWORD, registration_key=REGISTRATION_KEY),
                )
                for email in (EMAIL, OTHER_EMAIL)
            ]
        services = {SHOP: tenants[0].id, SHOPPING: tenants[1].id}
        urls |= await _import(
            backend,
            directory,
            admin,
            {name: permissions.service(name, tenant) for name, tenant in services.items()},
            [Service(SHOP, SERVICE_OPERATIONS), Service(SHOPPING, service_operations(LIMITED))],
        )
        yield Broker(backend, admin, urls, tenants[0].id)
    finally:
        stop.set()
        await working


async def _import(
    backend: Backend,
    directory: Path,
    admin: str,
    roles: dict[str, permissions.Permissions],
    services: list[Service],
) -> dict[str, str]:
    """The URL of each role. Users belong to the whole broker, so their names are those of this test alone."""
    vhost = URL(admin).path.removeprefix("/")
    accounts = {role: Account(f"{role}-{vhost}", secrets.token_urlsafe(16), roles[role]) for role in roles}
    path = directory / f"{uuid.uuid4().hex}.json"
    path.write_text(json.dumps(definitions(vhost, list(accounts.values()), services)))
    await backend.ctl(["import_definitions", str(path)])
    return {
        role: str(URL(admin).with_user(account.user).with_password(account.password))
        for role, account in accounts.items()
    }


async def until_served(rpc: RpcClient) -> None:
    """Returns when a worker of each lane answers."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        for lane in Lane:
            while True:
                with contextlib.suppress(Unavailable):
                    await rpc.call(HEALTH[lane], HealthRequest())
                    break
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def channel_of(broker: Broker, role: str) -> AsyncIterator[AbstractChannel]:
    async with (
        await aio_pika.connect(broker.urls.get(role, broker.admin)) as connection,
        connection.channel(on_return_raises=True) as channel,
    ):
        yield channel


@contextlib.asynccontextmanager
async def shop(broker: Broker) -> AsyncIterator[AuthClient]:
    async with AuthClient.connect(
        broker.urls[SHOP], email=EMAIL, password=PASSWORD, name=SHOP, exchange=service_exchange(SHOP)
    ) as client:
        yield client


async def test_a_service_does_all_that_the_client_offers(broker: Broker) -> None:
    """Users, logins, verification from memory, live and durable revocations; and the worker does its part."""
    async with shop(broker) as client, client.verifier(max_age_seconds=60) as verifier:
        await client.users.create("ann", PASSWORD, email="ann@users.test")
        async with (
            asyncio.timeout(PATIENCE_SECONDS),
            contextlib.aclosing(client.revocations(since=1)) as live,
            contextlib.aclosing(client.revocations(since=1, durable="mailer")) as durable,
        ):
            for _ in ("listed, once the queue is there", "through the queue"):
                token = await client.login("ann", PASSWORD, device_id="phone")
                claims = await verifier.verify(token)
                await client.logout(token)
                for revocations in (live, durable):
                    while (await anext(revocations)).data.session_id != claims.jti:
                        pass  # it comes at least once: the one before may come again


async def test_an_application_is_protected_as_that_service(broker: Broker) -> None:
    """FastAPI's dependencies call through the service's exchange, with its traces, and hear that a session ended."""
    traced: list[str] = []

    def trace_headers() -> dict[str, str]:
        traced.append(TRACEPARENT)
        return {"traceparent": TRACEPARENT}

    auth = FastApiAuth(
        broker.urls[SHOP],
        email=EMAIL,
        password=PASSWORD,
        name=SHOP,
        exchange=service_exchange(SHOP),
        trace_headers=trace_headers,
    )
    app = FastAPI(exception_handlers=auth.exception_handlers, dependencies=[Depends(auth.require())])

    @app.get("/")
    async def protected() -> None: ...

    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        auth,
        shop(broker) as elsewhere,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.test") as http,
    ):
        await auth.client.users.create("flo", PASSWORD, email="flo@users.test")
        token = await auth.client.login("flo", PASSWORD, device_id="phone")
        headers = {"Authorization": f"Bearer {token}"}
        assert (await http.get("/", headers=headers)).status_code == HTTPStatus.OK
        await elsewhere.logout(token)
        await auth.until_ended(token)
        assert (await http.get("/", headers=headers)).status_code == HTTPStatus.UNAUTHORIZED
    assert traced


async def test_an_edge_calls_and_hears_of_every_tenant(broker: Broker) -> None:
    """Without declaring anything but its own queue."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        RevocationFeed(
            [broker.urls["edge"]],
            "test edge events",
            on_revoked=lambda event: heard.put_nowait(event.data.tenant),
            on_interrupted=lambda: None,
            subscriber="edge",
        ) as feed,
        shop(broker) as client,
    ):
        assert await feed.wait_alive(PATIENCE_SECONDS)
        await client.users.create("eve", PASSWORD, email="eve@users.test")
        await client.logout(await client.login("eve", PASSWORD, device_id="phone"))
        assert await heard.get() == broker.tenant


async def test_a_service_calls_what_is_bound_for_it_and_nothing_else(broker: Broker) -> None:
    """To it, the other operations have no worker; through an exchange of its own neither."""
    bindings = await broker.backend.ctl(
        ["list_bindings", "-p", URL(broker.admin).path[1:], "source_name", "routing_key", "--formatter", "json"]
    )
    bound = {each["routing_key"] for each in json.loads(bindings) if each["source_name"] == service_exchange(SHOPPING)}
    assert bound == {*LIMITED, *CLIENT_OPERATIONS}
    assert TENANT_REGISTER.name not in SERVICE_OPERATIONS
    async with channel_of(broker, SHOPPING) as channel:
        calls = await channel.get_exchange(service_exchange(SHOPPING), ensure=False)
        own = await channel.declare_exchange(f"sub.{SHOPPING}.relay", "topic", auto_delete=True)
        await calls.bind(own, "#")
        for exchange in (calls, own):
            for operation in (TENANT_REGISTER.name, "user.create", "health.verify"):
                with pytest.raises(PublishError):
                    await exchange.publish(aio_pika.Message(b"{}"), operation)


async def test_a_service_that_is_allowed_little_has_a_client_that_works(broker: Broker) -> None:
    """It logs its tenant in and subscribes, and other operations have no worker."""
    exchange = service_exchange(SHOPPING)
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        AuthClient.connect(broker.admin, email=OTHER_EMAIL, password=PASSWORD) as elsewhere,
        AuthClient.connect(
            broker.urls[SHOPPING], email=OTHER_EMAIL, password=PASSWORD, name=SHOPPING, exchange=exchange
        ) as client,
        client.verifier(max_age_seconds=60) as verifier,
        contextlib.aclosing(client.revocations(since=1)) as live,
        contextlib.aclosing(client.revocations(since=1, durable="mailer")) as durable,
    ):
        await elsewhere.users.create("gus", PASSWORD, email="gus@users.test")
        token = await client.login("gus", PASSWORD, device_id="phone")
        claims = await verifier.verify(token)
        await elsewhere.logout(token)
        for revocations in (live, durable):
            assert (await anext(revocations)).data.session_id == claims.jti
        with pytest.raises(Unavailable):
            await client.users.create("hal", PASSWORD, email="hal@users.test")


def calling_as(broker: Broker, role: str) -> RpcClient:
    """The client of an edge, or of a service through its exchange."""
    exchange = RPC_EXCHANGE if role == "edge" else service_exchange(role)
    return RpcClient([broker.urls[role]], f"test {role}", exchange=exchange, declare=False)


async def log_in(rpc: RpcClient, password: str = PASSWORD, address: str | None = None) -> None:
    """Logs the tenant of the shop in."""
    members = {"email": EMAIL, "password": password, "client_address": address}
    await rpc.call(TENANT_LOGIN, TENANT_LOGIN.request.model_validate(members))


@pytest.mark.parametrize("address", [None, HOME])
async def test_a_service_locks_no_other_tenant_out(broker: Broker, address: str | None) -> None:
    """Neither as one that says nothing about where it is, nor as the tenant's own address: both log in meanwhile."""
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        calling_as(broker, "edge") as edge,
        calling_as(broker, SHOP) as victim,
        calling_as(broker, SHOPPING) as attacker,
    ):
        for rpc in (edge, victim, attacker):
            await rpc.wait_connected()
        await log_in(victim)
        await log_in(edge)
        await log_in(edge, address=HOME)
        refusals = set()
        for _ in range(GUESSES):
            try:
                await log_in(attacker, "wrong", address)
            except (InvalidCredentials, Throttled) as refusal:
                refusals.add(refusal.code)
        assert Throttled.code in refusals
        await log_in(victim)
        await log_in(edge)
        await log_in(edge, address=HOME)


async def test_a_service_registers_no_tenant_by_an_address(broker: Broker) -> None:
    """Not even where an administrator lets it call that operation: only edges say where a client is."""
    members = {"password": PASSWORD, "client_address": IN_NETWORK}
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        channel_of(broker, "admin") as channel,
        calling_as(broker, "edge") as edge,
        calling_as(broker, SHOPPING) as service,
    ):
        rpc, calls = [
            await channel.get_exchange(name, ensure=False) for name in (RPC_EXCHANGE, service_exchange(SHOPPING))
        ]
        await rpc.bind(calls, TENANT_REGISTER.name)
        try:
            for client in (edge, service):
                await client.wait_connected()
            allowed = TENANT_REGISTER.request.model_validate({"email": "edge@tenant.test", **members})
            await edge.call(TENANT_REGISTER, allowed)
            refused = TENANT_REGISTER.request.model_validate({"email": "service@tenant.test", **members})
            with pytest.raises(RegistrationForbidden):
                await service.call(TENANT_REGISTER, refused)
        finally:
            await rpc.unbind(calls, TENANT_REGISTER.name)


async def test_what_goes_through_probes_is_nobodys_event(broker: Broker) -> None:
    """Not even from an exchange of one's own, where RabbitMQ checks no key."""
    async with channel_of(broker, "admin") as watching, channel_of(broker, SHOPPING) as channel:
        victim = await watching.declare_queue(exclusive=True)
        await victim.bind(EVENTS_EXCHANGE, "session.revoked.#")
        probes = await channel.get_exchange(PROBES_EXCHANGE, ensure=False)
        own = await channel.declare_exchange(f"sub.{SHOPPING}.relay", "topic", auto_delete=True)
        await probes.bind(own, "#")
        with pytest.raises(PublishError):
            await own.publish(aio_pika.Message(b"forged"), f"session.revoked.{broker.tenant}")
        assert await victim.get(fail=False) is None


async def test_nobody_publishes_under_another_users_name(broker: Broker) -> None:
    """RabbitMQ holds the property `user_id` against the connection's user."""
    async with channel_of(broker, SHOP) as channel:
        calls = await channel.get_exchange(service_exchange(SHOP), ensure=False)
        edge = URL(broker.urls["edge"]).user
        with pytest.raises(ChannelPreconditionFailed):
            await calls.publish(aio_pika.Message(b"{}", user_id=edge), "auth.verify")


Attempt = Callable[[AbstractChannel], Awaitable[object]]
LANE = lane_queue(Lane.VERIFY)


def publishes(exchange: str, routing_key: str) -> Attempt:
    async def attempt(channel: AbstractChannel) -> None:
        target = channel.default_exchange if not exchange else await _exchange(channel, exchange)
        await target.publish(aio_pika.Message(b"{}"), routing_key, mandatory=False)

    return attempt


def binds(exchange: str, routing_key: str, role: str) -> Attempt:
    """A queue of its own to an exchange."""

    async def attempt(channel: AbstractChannel) -> None:
        queue = await channel.declare_queue(f"sub.{role}.{uuid.uuid4().hex}", exclusive=True)
        await queue.bind(exchange, routing_key)

    return attempt


def relays(exchange: str, role: str) -> Attempt:
    """An exchange of its own into another, past the check of routing keys."""

    async def attempt(channel: AbstractChannel) -> None:
        own = await channel.declare_exchange(f"sub.{role}.relay", "topic", auto_delete=True)
        await (await _exchange(channel, exchange)).bind(own, "#")

    return attempt


def declares(name: str, **arguments: str) -> Attempt:
    async def attempt(channel: AbstractChannel) -> None:
        await channel.declare_queue(name, exclusive=True, arguments=dict(arguments))

    return attempt


def falls_back(exchange: str, role: str) -> Attempt:
    """An exchange of its own whose unroutable messages go to another."""

    async def attempt(channel: AbstractChannel) -> None:
        await channel.declare_exchange(f"sub.{role}.heir", "topic", arguments={"alternate-exchange": exchange})

    return attempt


def consumes(queue: str) -> Attempt:
    async def attempt(channel: AbstractChannel) -> None:
        await (await channel.get_queue(queue, ensure=False)).consume(_ignore)

    return attempt


def purges(queue: str) -> Attempt:
    async def attempt(channel: AbstractChannel) -> None:
        await (await channel.get_queue(queue, ensure=False)).purge()

    return attempt


def deletes_queue(queue: str) -> Attempt:
    return lambda channel: channel.queue_delete(queue)


def deletes_exchange(exchange: str) -> Attempt:
    return lambda channel: channel.exchange_delete(exchange)


def binds_lane(routing_key: str, exchange: str = RPC_EXCHANGE) -> Attempt:
    async def attempt(channel: AbstractChannel) -> None:
        await (await channel.get_queue(LANE.name, ensure=False)).bind(exchange, routing_key)

    return attempt


async def _ignore(_: AbstractIncomingMessage) -> None:
    pass


async def _exchange(channel: AbstractChannel, name: str) -> AbstractExchange:
    return await channel.get_exchange(name, ensure=False)


def of_any_subscriber(role: str) -> dict[str, Attempt]:
    """What neither an edge nor a service may do."""
    dead_letters = {"x-dead-letter-exchange": EVENTS_EXCHANGE, "x-dead-letter-routing-key": "session.revoked.other"}
    return {
        "reaches a lane past its exchange": publishes("", LANE.name),
        "takes a lane's requests": consumes(LANE.name),
        "takes health checks": consumes(health_queue(Lane.VERIFY).name),
        "empties a lane": purges(LANE.name),
        "removes a lane": deletes_queue(LANE.name),
        "declares a lane": declares("rpc.extra"),
        "removes the way of requests": deletes_exchange(RPC_EXCHANGE),
        "removes the way of events": deletes_exchange(EVENTS_EXCHANGE),
        "removes the way of probes": deletes_exchange(PROBES_EXCHANGE),
        "listens in on requests": binds(RPC_EXCHANGE, "#", role),
        "listens in on everything": binds("amq.rabbitmq.trace", "#", role),
        "forges an event": publishes(EVENTS_EXCHANGE, "session.revoked.other"),
        "forges an event as a probe": publishes(PROBES_EXCHANGE, "session.revoked.other"),
        "forges an event by binding": relays(EVENTS_EXCHANGE, role),
        "forges an event by dead-lettering": declares(f"sub.{role}.dead", **dead_letters),
        "forges an event by falling back": falls_back(EVENTS_EXCHANGE, role),
        "hears every key": binds(EVENTS_EXCHANGE, "#", role),
        "declares another's queue": declares("sub.other.queue"),
        "takes another's queue": consumes("sub.other.queue"),
        "sends another's probe": publishes(PROBES_EXCHANGE, "sub.other.probe"),
        "hears another's probes": binds(EVENTS_EXCHANGE, "sub.other.probe", role),
    }


REFUSED: dict[str, dict[str, Attempt]] = {
    "edge": of_any_subscriber("edge"),
    SHOP: {
        **of_any_subscriber(SHOP),
        "calls past its exchange": publishes(RPC_EXCHANGE, "auth.verify"),
        "calls past its exchange by binding": relays(RPC_EXCHANGE, SHOP),
        "calls past its exchange by falling back": falls_back(RPC_EXCHANGE, SHOP),
        "calls as another service": publishes(service_exchange(SHOPPING), "auth.verify"),
        "removes its exchange": deletes_exchange(service_exchange(SHOP)),
        "hears another tenant": binds(EVENTS_EXCHANGE, "session.revoked.other", SHOP),
        "hears all tenants": binds(EVENTS_EXCHANGE, "session.revoked.*", SHOP),
        "declares what begins alike": declares(f"sub.{SHOPPING}.queue"),
    },
    QUEUE_LENGTH: {
        **of_any_subscriber(QUEUE_LENGTH),
        "calls": publishes(RPC_EXCHANGE, "auth.verify"),
        "declares a queue of its own": declares(f"sub.{QUEUE_LENGTH}.queue"),
        "hears of itself": binds(EVENTS_EXCHANGE, f"sub.{QUEUE_LENGTH}.probe", QUEUE_LENGTH),
    },
    "worker": {
        "calls": publishes(RPC_EXCHANGE, "auth.verify"),
        "announces what is no revocation": publishes(EVENTS_EXCHANGE, "sub.shop.probe"),
        "removes the way of requests": deletes_exchange(RPC_EXCHANGE),
        "removes the way of events": deletes_exchange(EVENTS_EXCHANGE),
        "takes what is no operation": binds_lane("#"),
        "takes subscribers' probes": binds_lane("sub.#", PROBES_EXCHANGE),
        "declares a subscriber's queue": declares("sub.shop.queue"),
        "takes a subscriber's queue": consumes("sub.shop.queue"),
        "hears events": binds(EVENTS_EXCHANGE, "session.revoked.other", "shop"),
    },
}


@pytest.mark.parametrize(
    ("role", "name"), [(role, name) for role, attempts in REFUSED.items() for name in attempts], ids=str
)
async def test_a_role_is_refused_what_is_not_its_work(broker: Broker, role: str, name: str) -> None:
    """RabbitMQ answers ACCESS_REFUSED, and closes the channel."""
    async with await aio_pika.connect(broker.urls[role]) as connection:
        channel = await connection.channel()
        with pytest.raises(ChannelAccessRefused):
            await REFUSED[role][name](channel)


async def test_the_check_finds_nothing_wrong_with_the_roles(broker: Broker) -> None:
    """What `--check` tries is what edges and workers are allowed, and a worker's permissions are not an edge's."""
    edge, as_worker = (
        api.settings.Settings(amqp_url=broker.urls[role], declare_topology=False) for role in ("edge", "worker")
    )
    worker = Settings(
        amqp_url=broker.urls["worker"],
        declare_topology=False,
        mongo_url=broker.backend.database_url(),
        lanes="verify",
        master_keys=f"test:{base64.b64encode(bytes(32)).decode()}",
    )
    assert await api.check.problems(edge) == []
    assert await worker_problems(worker) == []
    refused = await api.check.problems(as_worker)
    assert len(refused) == 3
    assert all("ACCESS_REFUSED" in line for line in refused)
