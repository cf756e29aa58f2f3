"""A broker of three nodes that loses a node."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from yarl import URL

from dev.mongo import MongoServer
from dev.rabbitmq import RabbitNode
from shared.amqp.topology import QueueType, lane_queue
from shared.client.auth_client import AuthClient
from shared.contracts.errors import AuthError, Unavailable
from shared.contracts.operation import Lane
from tests.faults.audit import Inspection, until_nothing_pending
from tests.faults.load import PASSWORD, REFUSALS, Load
from tests.faults.profile import LONG, note
from tests.faults.stack import REPLY_TIMEOUT_SECONDS, Crashable
from tests.faults.subscribers import Subscribers
from tests.faults.transports import PATIENCE_SECONDS, Edges, OverAmqp, OverHttp, until_ready
from tests.service import RunningService, running_service

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

#: Five seconds are required; the rest is slack for a machine with other load.
BACK_SECONDS = 5.0 + 5.0
#: Longest immediate refusal, on a machine with other load.
AT_ONCE_SECONDS = 1.0
LOSSES = 3 if LONG else 1


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sequence[RabbitNode]]:
    """A running cluster of three nodes."""
    async with cluster(tmp_path_factory.mktemp("cluster")) as members:
        await asyncio.gather(*(node.start() for node in members[1:]))
        yield members


@contextlib.asynccontextmanager
async def cluster(directory: Path) -> AsyncIterator[Sequence[RabbitNode]]:
    """Yield three nodes of a cluster; only the first is running."""
    first = RabbitNode(directory / "1")
    members = [first, *(RabbitNode(directory / name, beside=first) for name in ("2", "3"))]
    async with contextlib.AsyncExitStack() as undo:
        # Their data is not needed again, so they are killed.
        undo.push_async_callback(first.stop)
        for node in members:
            undo.push_async_callback(node.kill)
        await first.start()
        yield members


@dataclass(frozen=True)
class Clustered:
    """The service on the cluster, a tenant over both transports, and its subscribers."""

    nodes: Sequence[RabbitNode]
    vhost: str
    service: RunningService
    edges: Edges
    tenant: OverHttp
    on_broker: OverAmqp
    subscribers: Subscribers

    async def holder(self, queue: str) -> RabbitNode:
        """Return the node that holds a classic queue, or the leader of a replicated one."""
        listed = await self.nodes[0].ctl("-p", self.vhost, "list_queues", "name", "pid")
        (line,) = (line for line in listed.splitlines() if line.split("\t")[0] == queue)
        return next(node for node in self.nodes if node.nodename in line)

    async def members(self) -> Mapping[str, int]:
        """Return the number of nodes of each replicated queue."""
        listed = await self.nodes[0].ctl("-p", self.vhost, "list_queues", "name", "type", "members")
        rows = [line.split("\t") for line in listed.splitlines()]
        return {name: members.count("@") for name, kind, members in rows if kind == "quorum"}

    async def served_again(self, since: float, token: str) -> float:
        """Return the seconds until each edge has answered a verification and a login."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            for _ in range(2 * len(self.service.urls)):
                while True:
                    try:
                        await self.tenant.verify(token)
                        await self.tenant.login("ann", PASSWORD)
                        break
                    except REFUSALS:
                        await asyncio.sleep(0.02)
        return time.monotonic() - since


@contextlib.asynccontextmanager
async def clustered(
    queue_type: QueueType,
    nodes: Sequence[RabbitNode],
    database: MongoServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Clustered]:
    """Run two edges and two workers of each kind, each with the URLs of all three nodes."""
    vhost = f"{queue_type}"
    directory = tmp_path_factory.mktemp(vhost)
    await nodes[0].ctl("add_vhost", vhost)
    await nodes[0].ctl("set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")
    urls = [str(URL(node.amqp_url).with_path(f"/{vhost}")) for node in nodes]
    async with contextlib.AsyncExitStack() as undo:
        service = await undo.enter_async_context(
            running_service(
                directory,
                ",".join(urls),
                database.url.replace("/jincor_auth", f"/nodes_{directory.name}"),
                edges=2,
                workers=2,
                env={
                    "AUTH_QUEUE_TYPE": vhost,
                    "AUTH_REPLY_TIMEOUT_SECONDS": str(REPLY_TIMEOUT_SECONDS),
                    "AUTH_HASH_THREADS": "2",
                },
            )
        )
        edges = await undo.enter_async_context(Edges(service.urls))
        tenant, _ = await OverHttp.register(edges, PASSWORD)
        await tenant.create("ann", PASSWORD)
        auth = await undo.enter_async_context(
            AuthClient.connect(urls, tenant_token=tenant.token, timeout_seconds=REPLY_TIMEOUT_SECONDS)
        )
        subscribers = await undo.enter_async_context(Subscribers.reading(auth))
        yield Clustered(nodes, vhost, service, edges, tenant, OverAmqp(auth), subscribers)


async def test_killed_node_with_replicated_queues_interrupts_calls_for_seconds(
    nodes: Sequence[RabbitNode], crashable: Crashable, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Nothing acknowledged is lost, nor any event."""
    queue = lane_queue(Lane.VERIFY, queue_type=QueueType.QUORUM).name
    async with clustered(QueueType.QUORUM, nodes, crashable.server, tmp_path_factory) as stack:
        token = await stack.tenant.login("ann", PASSWORD)
        back, slowest = [], 0.0
        async with Load.running((stack.tenant, stack.on_broker)) as load:
            for _ in range(LOSSES):
                node = await stack.holder(queue)
                killed = time.monotonic()
                await node.kill()
                back.append(await stack.served_again(killed, token))
                await load.progress()
                slowest = max(slowest, load.records.slowest(since=killed))
                await node.start()
                await until_ready(stack.service.urls)
        codes = load.records.codes()
        note(
            f"node with the leader of {queue} killed {LOSSES} times: served again after "
            f"{', '.join(f'{seconds:.1f} s' for seconds in back)}; slowest call {slowest:.1f} s; {dict(codes)}"
        )
        assert max(back) < BACK_SECONDS
        await _audit(stack, load)


async def test_killed_node_with_classic_queues_refuses_its_lanes_until_it_is_back(
    nodes: Sequence[RabbitNode], crashable: Crashable, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Nothing acknowledged is lost."""
    async with clustered(QueueType.CLASSIC, nodes, crashable.server, tmp_path_factory) as stack:
        token = await stack.tenant.login("ann", PASSWORD)
        async with Load.running((stack.tenant, stack.on_broker)) as load:
            node = await stack.holder(lane_queue(Lane.VERIFY).name)
            await node.kill()
            await _until_unavailable(stack, token)
            waits = []
            for _ in range(20):
                started_at = time.monotonic()
                with contextlib.suppress(Unavailable):
                    await stack.tenant.verify(token)
                    raise AssertionError("a queue of a killed node was served")
                waits.append(time.monotonic() - started_at)
            started = time.monotonic()
            await node.start()
            up = time.monotonic()
            await stack.served_again(up, token)
            back = time.monotonic() - up
            await until_ready(stack.service.urls)
            await load.progress()
        note(
            f"node with classic queues killed: refused after {1000 * sorted(waits)[10]:.0f} ms until it was back "
            f"({up - started:.0f} s), served {back:.1f} s after that; {dict(load.records.codes())}"
        )
        assert sorted(waits)[10] < AT_ONCE_SECONDS
        assert back < BACK_SECONDS
        await _audit(stack, load)


async def test_queues_of_a_starting_cluster_survive_a_lost_node_after_they_grow(
    crashable: Crashable, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The queues are on one node until an operator or the broker's reconciliation adds the others."""
    async with (
        cluster(tmp_path_factory.mktemp("starting")) as nodes,
        clustered(QueueType.QUORUM, nodes, crashable.server, tmp_path_factory) as stack,
    ):
        token = await stack.tenant.login("ann", PASSWORD)
        await asyncio.gather(*(node.start() for node in nodes[1:]))
        single_node = await stack.members()
        assert set(single_node.values()) == {1}
        assert {lane_queue(lane, queue_type=QueueType.QUORUM).name for lane in Lane} <= single_node.keys()
        for node in nodes[1:]:
            await nodes[0].ctl("grow", node.nodename, "all", tool="rabbitmq-queues")
        assert await stack.members() == dict.fromkeys(single_node, len(nodes))
        killed = time.monotonic()
        await nodes[0].kill()
        back = await stack.served_again(killed, token)
        note(f"queues of one node given two others; that node killed: served again after {back:.1f} s")
        assert back < BACK_SECONDS


async def _audit(stack: Clustered, load: Load) -> None:
    """Check acknowledgements, and that both subscribers received exactly the revoked sessions."""
    inspection = Inspection(stack.tenant)
    await inspection.inspect(load.records.accounts)
    await until_nothing_pending(stack.service.mongo_url)
    await stack.subscribers.receive(inspection.ended)
    wrong = [*load.records.violations, *inspection.violations]
    assert not wrong, "\n".join(wrong)
    assert not inspection.live & (stack.subscribers.live | stack.subscribers.durable)


async def _until_unavailable(stack: Clustered, token: str) -> None:
    """Wait until both edges refuse calls as `unavailable`."""
    refusals = 0
    async with asyncio.timeout(PATIENCE_SECONDS):
        while refusals < 2 * len(stack.service.urls):
            try:
                await stack.tenant.verify(token)
            except Unavailable:
                refusals += 1
            except AuthError:
                continue
            else:
                refusals = 0
