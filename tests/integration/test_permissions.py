"""The permissions of the broker users that deploy/ creates."""

import asyncio
import base64
import contextlib
import json
import uuid
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import aio_pika
import httpx
import pytest
from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractIncomingMessage
from aio_pika.exceptions import PublishError
from aiormq.exceptions import ChannelAccessRefused, ChannelPreconditionFailed
from fastapi import Depends, FastAPI
from yarl import URL

import api.check
import api.settings
from deploy import permissions
from deploy.permissions import (
    CLIENT_OPERATIONS,
    IDENTITY_OPERATIONS,
    QUEUE_LENGTH,
    SERVICE_OPERATIONS,
    operations_of,
    service_operations,
)
from shared.amqp.feed import RevocationFeed
from shared.amqp.rpc_client import RpcClient
from shared.amqp.topology import (
    EVENTS_EXCHANGE,
    RPC_EXCHANGE,
    health_queue,
    lane_queue,
    service_exchange,
)
from shared.client.auth_client import AuthClient
from shared.contracts import OPERATIONS
from shared.contracts.errors import InvalidCredentials, InvalidToken, RegistrationForbidden, Throttled, Unavailable
from shared.contracts.operation import Lane
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.tenant_register import TENANT_REGISTER
from shared.fastapi import FastApiAuth
from tests.backends import with_indexes
from tests.integration.broker_users import (
    EMAIL,
    GATEWAY,
    IN_NETWORK,
    LIMITED,
    OF_GATEWAY,
    OTHER_EMAIL,
    PASSWORD,
    PATIENCE_SECONDS,
    SHOP,
    SHOPPING,
    Broker,
    channel_of,
    shop,
)
from worker.check import worker_problems
from worker.settings import Settings

#: The worker runs on one loop for all tests.
pytestmark = pytest.mark.asyncio(loop_scope="module")

#: The tenant logs in from this address through the edge.
HOME = "192.0.2.1"
#: More wrong passwords than the default limit allows without delay.
WRONG_PASSWORDS = 8
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_service_user_can_do_everything_the_client_offers(broker: Broker) -> None:
    """The test manages users, logs in, verifies from the cache, and reads live and durable revocations."""
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
                        pass  # at least once: the previous event may be redelivered


async def test_fastapi_application_with_a_service_user_sees_a_session_end(broker: Broker) -> None:
    """Its calls go through the service's exchange, with trace headers."""
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


async def test_edge_user_calls_and_receives_events_of_every_tenant(broker: Broker) -> None:
    """It declares only its own queue."""
    tenants: asyncio.Queue[str] = asyncio.Queue()
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        RevocationFeed(
            [broker.urls["edge"]],
            "test edge events",
            on_revoked=lambda event: tenants.put_nowait(event.data.tenant),
            on_interrupted=lambda: None,
            subscriber="edge",
        ) as feed,
        shop(broker) as client,
    ):
        assert await feed.wait_alive(PATIENCE_SECONDS)
        await client.users.create("eve", PASSWORD, email="eve@users.test")
        await client.logout(await client.login("eve", PASSWORD, device_id="phone"))
        assert await tenants.get() == broker.tenant


async def test_service_user_calls_only_operations_bound_for_it(broker: Broker) -> None:
    """Through an exchange of its own, other operations have no worker."""
    bindings = await broker.backend.ctl(
        ["list_bindings", "-p", URL(broker.admin).path[1:], "source_name", "routing_key", "--formatter", "json"]
    )
    bound = {each["routing_key"] for each in json.loads(bindings) if each["source_name"] == service_exchange(SHOPPING)}
    assert bound == {*LIMITED, *CLIENT_OPERATIONS, f"sub.{SHOPPING}.#"}
    assert TENANT_REGISTER.name not in SERVICE_OPERATIONS
    for operation in (TENANT_REGISTER.name, "user.create", "health.verify"):
        async with channel_of(broker, SHOPPING) as channel:
            calls = await channel.get_exchange(service_exchange(SHOPPING), ensure=False)
            own = await channel.declare_exchange(f"sub.{SHOPPING}.relay", "topic", auto_delete=True)
            await calls.bind(own, "#")
            with pytest.raises(PublishError):
                await own.publish(aio_pika.Message(b"{}"), operation)
            with pytest.raises(ChannelAccessRefused):
                await calls.publish(aio_pika.Message(b"{}"), operation)


async def test_client_of_a_restricted_service_logs_in_and_subscribes(broker: Broker) -> None:
    """Other operations have no worker."""
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


async def test_service_with_chosen_permissions_calls_only_their_operations(broker: Broker) -> None:
    """Without `events:read`, its verifier asks a worker each time, so that no revoked token passes."""
    exchange = service_exchange(GATEWAY)
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        shop(broker) as elsewhere,
        AuthClient.connect(
            broker.urls[GATEWAY], email=EMAIL, password=PASSWORD, name=GATEWAY, exchange=exchange
        ) as client,
        client.verifier(max_age_seconds=60) as verifier,
    ):
        ida = await elsewhere.users.create("ida", PASSWORD, email="ida@users.test")
        token = await elsewhere.login("ida", PASSWORD, device_id="phone")
        assert (await verifier.verify(token)).id == ida.id
        assert (await client.users.get("ida")).id == ida.id
        await elsewhere.logout(token)
        with pytest.raises(InvalidToken):
            await verifier.verify(token)
        for refused in (
            client.login("ida", PASSWORD, device_id="phone"),
            client.logout(token),
            client.users.create("jon", PASSWORD, email="jon@users.test"),
            client.users.delete("ida"),
        ):
            with pytest.raises(Unavailable):
                await refused


async def test_every_operation_without_its_permission_is_refused_by_the_broker(broker: Broker) -> None:
    allowed = {*operations_of(OF_GATEWAY)}
    assert allowed == {"auth.verify", "token.introspect", "user.get", "user.list", *IDENTITY_OPERATIONS}
    for operation in OPERATIONS:
        async with channel_of(broker, GATEWAY) as channel:
            calls = await channel.get_exchange(service_exchange(GATEWAY), ensure=False)
            if operation in allowed:
                await calls.publish(aio_pika.Message(b"{}"), operation)
            else:
                with pytest.raises(ChannelAccessRefused):
                    await calls.publish(aio_pika.Message(b"{}"), operation)


def calling_as(broker: Broker, role: str) -> RpcClient:
    """Return the client of an edge, or of a service through its exchange."""
    exchange = RPC_EXCHANGE if role == "edge" else service_exchange(role)
    return RpcClient([broker.urls[role]], f"test {role}", exchange=exchange, declare=False)


async def log_in(rpc: RpcClient, password: str = PASSWORD, address: str | None = None) -> None:
    """Log the shop's tenant in."""
    members = {"email": EMAIL, "password": password, "client_address": address}
    await rpc.call(TENANT_LOGIN, TENANT_LOGIN.request.model_validate(members))


@pytest.mark.parametrize("address", [None, HOME])
async def test_wrong_passwords_from_one_service_do_not_throttle_another_tenant(
    broker: Broker, address: str | None
) -> None:
    """The attacker sends no client address, or the tenant's own."""
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
        for _ in range(WRONG_PASSWORDS):
            try:
                await log_in(attacker, "wrong", address)
            except (InvalidCredentials, Throttled) as refusal:
                refusals.add(refusal.code)
        assert Throttled.code in refusals
        await log_in(victim)
        await log_in(edge)
        await log_in(edge, address=HOME)


async def test_registration_by_a_service_ignores_its_client_address(broker: Broker) -> None:
    """Only edges may say where a client is, even if a service may call the operation."""
    members = {"password": PASSWORD, "client_address": IN_NETWORK}
    user, exchange = URL(broker.urls[SHOPPING]).user, service_exchange(SHOPPING)
    permitted = permissions.service(SHOPPING, broker.tenant, service_operations(LIMITED))
    (usual,) = [topic.write for topic in permitted.topics if topic.exchange == exchange]

    async def may_write(pattern: str) -> None:
        vhost = URL(broker.admin).path.removeprefix("/")
        await broker.backend.ctl(["set_topic_permissions", "-p", vhost, str(user), exchange, pattern, "^$"])

    await may_write(".*")
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
            await may_write(usual)


async def test_publishing_with_another_users_id_is_refused(broker: Broker) -> None:
    """RabbitMQ compares the property `user_id` with the connection's user."""
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
    """Bind a queue of the role's own to an exchange."""

    async def attempt(channel: AbstractChannel) -> None:
        queue = await channel.declare_queue(f"sub.{role}.{uuid.uuid4().hex}", exclusive=True)
        await queue.bind(exchange, routing_key)

    return attempt


def relays(exchange: str, role: str) -> Attempt:
    """Bind an exchange of the role's own into another, past the check of routing keys."""

    async def attempt(channel: AbstractChannel) -> None:
        own = await channel.declare_exchange(f"sub.{role}.relay", "topic", auto_delete=True)
        await (await _exchange(channel, exchange)).bind(own, "#")

    return attempt


def declares(name: str, **arguments: str) -> Attempt:
    async def attempt(channel: AbstractChannel) -> None:
        await channel.declare_queue(name, exclusive=True, arguments=dict(arguments))

    return attempt


def falls_back(exchange: str, role: str) -> Attempt:
    """Declare an exchange of the role's own whose unroutable messages go to another."""

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
    """Return attempts that neither an edge nor a service may make."""
    dead_letters = {"x-dead-letter-exchange": EVENTS_EXCHANGE, "x-dead-letter-routing-key": "session.revoked.other"}
    return {
        "publishes to a lane past its exchange": publishes("", LANE.name),
        "consumes a lane's requests": consumes(LANE.name),
        "consumes health checks": consumes(health_queue(Lane.VERIFY).name),
        "purges a lane": purges(LANE.name),
        "deletes a lane": deletes_queue(LANE.name),
        "declares a lane": declares("rpc.extra"),
        "deletes the rpc exchange": deletes_exchange(RPC_EXCHANGE),
        "deletes the events exchange": deletes_exchange(EVENTS_EXCHANGE),
        "deletes the screen exchange": deletes_exchange("screen"),
        "subscribes to requests": binds(RPC_EXCHANGE, "#", role),
        "subscribes to the tracer": binds("amq.rabbitmq.trace", "#", role),
        "forges an event": publishes(EVENTS_EXCHANGE, "session.revoked.other"),
        "forges an event by binding": relays(EVENTS_EXCHANGE, role),
        "forges an event by dead-lettering": declares(f"sub.{role}.dead", **dead_letters),
        "forges an event by an alternate exchange": falls_back(EVENTS_EXCHANGE, role),
        "subscribes to every key": binds(EVENTS_EXCHANGE, "#", role),
        "declares another role's queue": declares("sub.other.queue"),
        "consumes another role's queue": consumes("sub.other.queue"),
        "publishes past its exchange": publishes("screen", f"sub.{role}.probe"),
        "binds past its exchange": relays("screen", role),
        "subscribes to another role's probes": binds(EVENTS_EXCHANGE, "sub.other.probe", role),
    }


REFUSED: dict[str, dict[str, Attempt]] = {
    "edge": of_any_subscriber("edge"),
    SHOP: {
        **of_any_subscriber(SHOP),
        "calls past its exchange": publishes(RPC_EXCHANGE, "auth.verify"),
        "calls past its exchange by binding": relays(RPC_EXCHANGE, SHOP),
        "calls past its exchange by an alternate exchange": falls_back(RPC_EXCHANGE, SHOP),
        "calls as another service": publishes(service_exchange(SHOPPING), "auth.verify"),
        "sends another role's probe": publishes(service_exchange(SHOP), "sub.other.probe"),
        "deletes its exchange": deletes_exchange(service_exchange(SHOP)),
        "subscribes to another tenant": binds(EVENTS_EXCHANGE, "session.revoked.other", SHOP),
        "subscribes to all tenants": binds(EVENTS_EXCHANGE, "session.revoked.*", SHOP),
        "declares a queue of a service with its prefix": declares(f"sub.{SHOPPING}.queue"),
    },
    GATEWAY: {
        **of_any_subscriber(GATEWAY),
        "calls past its exchange": publishes(RPC_EXCHANGE, "auth.verify"),
        "calls as another service": publishes(service_exchange(SHOP), "auth.verify"),
        "declares a queue of its own": declares(f"sub.{GATEWAY}.queue"),
        "subscribes to its own probes": binds(EVENTS_EXCHANGE, f"sub.{GATEWAY}.probe", GATEWAY),
        "sends a probe": publishes(service_exchange(GATEWAY), f"sub.{GATEWAY}.probe"),
    },
    QUEUE_LENGTH: {
        **of_any_subscriber(QUEUE_LENGTH),
        "calls": publishes(RPC_EXCHANGE, "auth.verify"),
        "declares a queue of its own": declares(f"sub.{QUEUE_LENGTH}.queue"),
        "subscribes to its own probes": binds(EVENTS_EXCHANGE, f"sub.{QUEUE_LENGTH}.probe", QUEUE_LENGTH),
    },
    "worker": {
        "calls": publishes(RPC_EXCHANGE, "auth.verify"),
        "publishes an event that is no revocation": publishes(EVENTS_EXCHANGE, "sub.shop.probe"),
        "sends a subscriber's probe": publishes(RPC_EXCHANGE, "sub.shop.probe"),
        "deletes the rpc exchange": deletes_exchange(RPC_EXCHANGE),
        "deletes the events exchange": deletes_exchange(EVENTS_EXCHANGE),
        "binds a lane to every key": binds_lane("#"),
        "binds a lane to subscribers' probes": binds_lane("sub.#", RPC_EXCHANGE),
        "declares a subscriber's queue": declares("sub.shop.queue"),
        "consumes a subscriber's queue": consumes("sub.shop.queue"),
        "subscribes to events": binds(EVENTS_EXCHANGE, "session.revoked.other", "shop"),
    },
}


@pytest.mark.parametrize(
    ("role", "name"), [(role, name) for role, attempts in REFUSED.items() for name in attempts], ids=str
)
async def test_attempt_outside_the_permissions_of_a_role_is_refused(broker: Broker, role: str, name: str) -> None:
    """RabbitMQ answers ACCESS_REFUSED and closes the channel."""
    async with await aio_pika.connect(broker.urls[role]) as connection:
        channel = await connection.channel()
        with pytest.raises(ChannelAccessRefused):
            await REFUSED[role][name](channel)


async def test_check_passes_with_each_roles_user_and_fails_with_another(broker: Broker) -> None:
    edge, as_worker = (
        api.settings.Settings(amqp_url=broker.urls[role], declare_topology=False) for role in ("edge", "worker")
    )
    worker = Settings(
        amqp_url=broker.urls["worker"],
        declare_topology=False,
        mongo_url=await with_indexes(broker.backend.database_url()),
        lanes="verify",
        master_keys=f"test:{base64.b64encode(bytes(32)).decode()}",
    )
    assert await api.check.edge_problems(edge) == []
    assert await worker_problems(worker) == []
    refused = await api.check.edge_problems(as_worker)
    assert len(refused) == 2
    assert all("ACCESS_REFUSED" in line for line in refused)
