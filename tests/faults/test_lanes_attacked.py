"""Attacks on the lanes by a service with a broker user of its own.

`python -m deploy` creates the users, so the attacker has the permissions of any service.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import secrets
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import aio_pika
import pytest
import pytest_asyncio
from aiormq.abc import AbstractChannel
from pamqp.commands import Basic
from yarl import URL

from deploy import permissions
from deploy.definitions import Account, Service, definitions
from deploy.permissions import SERVICE_OPERATIONS
from shared.amqp.rpc_client import RpcClient
from shared.amqp.topology import DIRECT_REPLY_TO, JSON_TYPE, REPLY_ADDRESS, service_exchange
from shared.client.auth_client import AuthClient
from shared.contracts.auth_verify import AUTH_VERIFY, AuthVerifyRequest, VerifyCheck
from shared.contracts.errors import AuthError, SessionNotFound
from tests.faults.load import PASSWORD
from tests.faults.profile import note
from tests.faults.stack import Crashable
from tests.faults.transports import PATIENCE_SECONDS, Edges, OverAmqp, OverHttp
from tests.fuzz.raw_publisher import open_publisher
from tests.service import running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHOP, MALLORY = "shop", "mallory"
ROLES = {"edge": permissions.edge(), "worker": permissions.worker()}
#: One operation of each lane that services may call.
OPERATION_OF_LANE = {"verify": "auth.verify", "manage": "auth.logout", "password": "auth.login"}
FORGED_PER_SECOND = 100
#: The phases alternate, so that other load on the machine affects both.
PHASE_SECONDS, TURNS = 2.0, 4
#: Required: calls take at most twice as long.
SLOWER_AT_MOST = 2.0
#: Smaller differences are noise of a machine with other load. A failure takes seconds: calls beside
#: such messages once took five.
NOISE_SECONDS = 0.25
#: A worker that decodes one blocks its event loop for 170 ms, so this rate would stop the lane.
LARGE_HEADERS_PER_SECOND = 20
#: Entries of the table `{"a": [void, void, ...]}` in the largest frame that RabbitMQ accepts by default.
ENTRIES = 125_000
#: AMQP 0-9-1, 4.2.6.1: the flag of the property `headers`.
HEADERS_FLAG = 1 << 13
FLOOD = 20_000
#: The default deadline of callers, which must get `overloaded` before it.
DEADLINE_SECONDS = 5.0


@dataclass(frozen=True)
class Attacked:
    """A service behind an edge and beside an attacker, each with its own user of the broker."""

    urls: dict[str, str]
    edges: Edges
    tenant: OverHttp
    shop: OverAmqp
    token: str
    logs: Callable[[], str]

    @contextlib.asynccontextmanager
    async def channel(self, role: str) -> AsyncIterator[AbstractChannel]:
        """Yield aiormq's own channel, which publishes without confirms."""
        async with await aio_pika.connect(self.urls[role]) as connection:
            channel = await connection.channel(publisher_confirms=False)
            yield await channel.get_underlay_channel()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def attacked(crashable: Crashable, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Attacked]:
    """Two services, an edge, and one worker of each kind, so that no second worker hides a failure."""
    directory, node = tmp_path_factory.mktemp("hostile"), crashable.node
    vhost = directory.name
    await node.ctl("add_vhost", vhost)

    async def users(roles: dict[str, permissions.Permissions], services: Sequence[Service]) -> dict[str, str]:
        accounts = {role: Account(f"{role}-{vhost}", secrets.token_urlsafe(16), roles[role]) for role in roles}
        path = directory / f"{len(services)}.json"
        path.write_text(json.dumps(definitions(vhost, list(accounts.values()), services)))
        await node.ctl("import_definitions", str(path))
        base = URL(node.amqp_url).with_path(f"/{vhost}")
        return {role: str(base.with_user(each.user).with_password(each.password)) for role, each in accounts.items()}

    urls = await users(ROLES, [])
    async with contextlib.AsyncExitStack() as undo:
        service = await undo.enter_async_context(
            running_service(
                directory,
                urls["worker"],
                crashable.server.url.replace("/jincor_auth", f"/{vhost}"),
                env={"AUTH_DECLARE_TOPOLOGY": "false"},
                env_of={"api-0": {"AMQP_URL": urls["edge"]}},
            )
        )
        edges = await undo.enter_async_context(Edges(service.urls))
        tenant, _ = await OverHttp.register(edges, PASSWORD)
        await tenant.create("ann", PASSWORD)
        token = await tenant.login("ann", PASSWORD)
        # Only the permissions of the services matter, not their tenants.
        ids = {name: f"tenant-of-{name}" for name in (SHOP, MALLORY)}
        urls |= await users(
            {name: permissions.service(name, tenant_id) for name, tenant_id in ids.items()},
            [Service(name, SERVICE_OPERATIONS) for name in ids],
        )
        shop = await undo.enter_async_context(client_of(urls, tenant.token))
        yield Attacked(urls, edges, tenant, OverAmqp(shop), token, service.logs)


def client_of(urls: dict[str, str], tenant_token: str) -> contextlib.AbstractAsyncContextManager[AuthClient]:
    return AuthClient.connect(
        urls[SHOP],
        tenant_token=tenant_token,
        name=SHOP,
        exchange=service_exchange(SHOP),
        timeout_seconds=DEADLINE_SECONDS,
    )


@dataclass
class Timings:
    """Durations of calls by name, and their outcomes."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    codes: Counter[str] = field(default_factory=Counter)

    async def record(self, name: str, call: Awaitable[object]) -> None:
        started = time.monotonic()
        try:
            await call
            self.codes["ok"] += 1
        except AuthError as error:
            self.codes[str(error.code)] += 1
        self.seconds.setdefault(name, []).append(time.monotonic() - started)

    def p99(self, name: str) -> float:
        ordered = sorted(self.seconds[name])
        return ordered[int(0.99 * (len(ordered) - 1))]

    @property
    def slowest(self) -> float:
        return max(itertools.chain.from_iterable(self.seconds.values()))


async def call_steadily(attacked: Attacked, timings: Timings, until: float) -> None:
    """Verify and log in repeatedly, over HTTP and as the other service."""

    async def repeat(name: str, call: Callable[[], Awaitable[object]], pause_seconds: float) -> None:
        while time.monotonic() < until:
            await timings.record(name, call())
            await asyncio.sleep(pause_seconds)

    async with asyncio.TaskGroup() as tasks:
        for transport in (attacked.tenant, attacked.shop):
            tasks.create_task(repeat("verify", lambda each=transport: each.verify(attacked.token), 0.01))  # type: ignore[misc]
            tasks.create_task(repeat("login", lambda each=transport: each.login("ann", PASSWORD), 0.1))  # type: ignore[misc]


async def call_reconnecting(attacked: Attacked, timings: Timings, until: float) -> None:
    """Call repeatedly with a new connection each time, as a service and as an edge."""
    check = VerifyCheck(tenant_token=attacked.tenant.token, token=attacked.token)
    while time.monotonic() < until:
        async with client_of(attacked.urls, attacked.tenant.token) as client:
            await timings.record("new connection", client.verify(attacked.token))
        async with RpcClient([attacked.urls["edge"]], "new edge", declare=False) as rpc:
            await rpc.wait_connected()
            await timings.record("new connection", rpc.call(AUTH_VERIFY, AuthVerifyRequest(checks=(check,))))
        await asyncio.sleep(0.1)


async def forged_addresses(channel: AbstractChannel) -> list[str]:
    """Return reply addresses of each kind that a worker accepts as direct reply-to."""
    real = await _real_address(channel)
    prefix, process, key = real.rsplit(".", 2)
    term = base64.b64decode(process)
    made_up = base64.b64encode(term[:-8] + bytes(byte ^ 0x55 for byte in term[-8:-4]) + term[-4:]).decode()
    forged = [
        f"{prefix}.g1h2AAtyZXBseUAxMjM0NQAAAAEAAAAAAAAAAA==.abc",  # a node that does not exist
        f"{prefix}.g2dkABByYWJiaXRAbG9jYWxob3N0AAAAAAAAAAAAAAAA.abc",  # the same in another version's format
        f"{prefix}.abc.abc",  # no term in it
        f"{prefix}.{process[: len(process) // 2]}.{key}",  # cut short
        f"{prefix}.{made_up}.{key}",  # a missing process of an existing node
    ]
    assert all(REPLY_ADDRESS.fullmatch(address) for address in forged)
    return forged


async def _real_address(channel: AbstractChannel) -> str:
    """Return RabbitMQ's reply address of this channel, as a message to itself shows it."""
    arrived: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    own = f"sub.{MALLORY}.own"

    async def see(message: object) -> None:
        arrived.set_result(message.header.properties.reply_to)  # type: ignore[attr-defined]

    async def ignore(_: object) -> None: ...

    await channel.basic_consume(DIRECT_REPLY_TO, ignore, no_ack=True)
    await channel.queue_declare(own, exclusive=True)
    await channel.exchange_declare(exchange=f"{own}.exchange", exchange_type="fanout", auto_delete=True)
    await channel.queue_bind(own, f"{own}.exchange")
    await channel.basic_consume(own, see, no_ack=True)
    await channel.basic_publish(b"", exchange=f"{own}.exchange", properties=Basic.Properties(reply_to=DIRECT_REPLY_TO))
    return await asyncio.wait_for(arrived, PATIENCE_SECONDS)


async def forge(channel: AbstractChannel, forged: Sequence[str], until: float) -> int:
    """Send requests with these reply addresses to each lane, through the service's own exchange, and count them."""
    kinds = itertools.cycle(itertools.product(forged, OPERATION_OF_LANE.values()))
    sent, started = 0, time.monotonic()
    while (due := started + sent / FORGED_PER_SECOND) < until:
        await asyncio.sleep(due - time.monotonic())
        address, operation = next(kinds)
        await channel.basic_publish(
            b"{}",
            exchange=service_exchange(MALLORY),
            routing_key=operation,
            properties=Basic.Properties(content_type=JSON_TYPE, reply_to=address, delivery_mode=1),
        )
        sent += 1
    return sent


async def test_forged_reply_addresses_delay_and_refuse_no_other_caller(attacked: Attacked) -> None:
    """Callers that connect during the attack are answered too."""
    idle, loaded, reconnecting, sent = Timings(), Timings(), Timings(), 0

    async def call(timings: Timings, until: float) -> None:
        await asyncio.gather(call_steadily(attacked, timings, until), call_reconnecting(attacked, reconnecting, until))

    await call(Timings(), time.monotonic() + 1.0)  # warm up connections and caches
    async with attacked.channel(MALLORY) as channel:
        forged = await forged_addresses(channel)
        for _ in range(TURNS):
            await call(idle, time.monotonic() + PHASE_SECONDS)
            until = time.monotonic() + PHASE_SECONDS
            async with asyncio.TaskGroup() as tasks:
                forging = tasks.create_task(forge(channel, forged, until))
                tasks.create_task(call(loaded, until))
            sent += forging.result()
    figures = {name: (idle.p99(name), loaded.p99(name)) for name in ("verify", "login")}
    note(
        f"{sent / TURNS / PHASE_SECONDS:.0f} forged reply addresses a second: p99 without and with "
        + ", ".join(f"{name} {1000 * a:.0f} and {1000 * b:.0f} ms" for name, (a, b) in figures.items())
        + f"; slowest {1000 * loaded.slowest:.0f} ms; {dict(loaded.codes)}; new connections {dict(reconnecting.codes)}"
    )
    assert sent > 0.9 * TURNS * PHASE_SECONDS * FORGED_PER_SECOND
    assert set(idle.codes) == set(loaded.codes) == set(reconnecting.codes) == {"ok"}
    for before, during in figures.values():
        assert during < SLOWER_AT_MOST * max(before, NOISE_SECONDS)
    lines = [line for line in attacked.logs().splitlines() if "dropped" in line or "is lost" in line]
    assert 0 < len(lines) < sent / 5


async def send_large_headers(url: str, until: float) -> int:
    """Send requests with the header table that is slowest to decode to each lane, and count them."""
    entries = b"\x01aA" + struct.pack(">I", ENTRIES) + ENTRIES * b"V"
    table = struct.pack(">I", len(entries)) + entries
    lanes = itertools.cycle(OPERATION_OF_LANE.values())
    sent, started = 0, time.monotonic()
    async with open_publisher(url) as publisher:
        while (due := started + sent / LARGE_HEADERS_PER_SECOND) < until:
            await asyncio.sleep(due - time.monotonic())
            await publisher.publish(service_exchange(MALLORY), next(lanes), HEADERS_FLAG, table, b"{}")
            sent += 1
    return sent


async def test_large_headers_delay_and_refuse_no_other_caller(attacked: Attacked) -> None:
    """The log does not fill with them."""
    idle, loaded, sent = Timings(), Timings(), 0
    await call_steadily(attacked, Timings(), time.monotonic() + 1.0)  # warm up connections and caches
    for _ in range(TURNS):
        await call_steadily(attacked, idle, time.monotonic() + PHASE_SECONDS)
        until = time.monotonic() + PHASE_SECONDS
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(send_large_headers(attacked.urls[MALLORY], until))
            tasks.create_task(call_steadily(attacked, loaded, until))
        sent += sending.result()
    figures = {name: (idle.p99(name), loaded.p99(name)) for name in ("verify", "login")}
    note(
        f"{sent / TURNS / PHASE_SECONDS:.0f} messages with large headers a second: p99 without and with "
        + ", ".join(f"{name} {1000 * a:.0f} and {1000 * b:.0f} ms" for name, (a, b) in figures.items())
    )
    assert sent > 0.5 * TURNS * PHASE_SECONDS * LARGE_HEADERS_PER_SECOND
    assert set(idle.codes) == set(loaded.codes) == {"ok"}
    for before, during in figures.values():
        assert during < SLOWER_AT_MOST * max(before, NOISE_SECONDS)
    lines = [line for line in attacked.logs().splitlines() if "cannot be read" in line]
    assert 0 < len(lines) < sent / 10


@pytest.mark.parametrize("lane", ["verify", "manage"])
async def test_flood_without_expiration_lets_no_other_caller_reach_its_deadline(attacked: Attacked, lane: str) -> None:
    """Other callers are answered or get `overloaded`."""
    timings, flooding = Timings(), asyncio.Event()

    async def flood() -> None:
        properties = Basic.Properties(content_type=JSON_TYPE, delivery_mode=1, reply_to=DIRECT_REPLY_TO)
        async with attacked.channel(MALLORY) as channel:
            await channel.basic_consume(DIRECT_REPLY_TO, _ignore, no_ack=True)
            for _ in range(FLOOD):
                await channel.basic_publish(
                    b"{}",
                    exchange=service_exchange(MALLORY),
                    routing_key=OPERATION_OF_LANE[lane],
                    properties=properties,
                )
            flooding.set()
            await asyncio.sleep(DEADLINE_SECONDS)  # the flooding connection stays open

    async def call_meanwhile() -> None:
        while not flooding.is_set():
            await asyncio.gather(*(timings.record(lane, _call_of(lane, each, attacked)) for each in transports))
        for _ in range(10):
            await asyncio.gather(*(timings.record(lane, _call_of(lane, each, attacked)) for each in transports))
            await asyncio.sleep(0.1)

    transports = (attacked.tenant, attacked.shop)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(flood())
        tasks.create_task(call_meanwhile())
    note(
        f"{FLOOD:,} messages without expiration into {lane}: "
        f"slowest call {timings.slowest:.1f} s, {dict(timings.codes)}"
    )
    assert set(timings.codes) <= {"ok", "overloaded"}
    assert timings.slowest < DEADLINE_SECONDS
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with contextlib.suppress(AuthError):
                await asyncio.gather(*(_call_of(lane, each, attacked) for each in transports))
                break


async def _call_of(lane: str, transport: OverHttp | OverAmqp, attacked: Attacked) -> None:
    if lane == "verify":
        await transport.verify(attacked.token)
    else:
        with contextlib.suppress(SessionNotFound):
            await transport.revoke("ann", "no-such-session")


async def _ignore(_: object) -> None: ...
