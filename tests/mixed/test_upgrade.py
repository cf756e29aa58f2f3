"""An upgrade from the previous version and back, step by step, with both versions working together in each state.

The order is that of docs/deployment.md. States outside this order must fail closed: they may answer 503 or 504, but
never 500, and never accept an ended session.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import aio_pika
import jwt
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractIncomingMessage

from shared.amqp.rpc_client import RpcClient
from shared.amqp.topology import DIRECT_REPLY_TO, JSON_TYPE, RPC_EXCHANGE, lane_queue
from shared.contracts import OPERATIONS
from shared.contracts.errors import ErrorCode, ErrorReply, LoginTaken, Unavailable
from shared.contracts.operation import Lane
from shared.contracts.validation import validated
from tests.e2e.tenant import PASSWORD, Tenant
from tests.e2e.test_events import streaming
from tests.mixed.fleet import CLOSED, PATIENCE_SECONDS, Answer, Asker, Client, Fleet, State, traffic
from tests.mixed.versions import CALLERS, DEFINITIONS, PERMISSIONS, WORKERS

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALL_OLD = State.of("the previous version", "old", "old", "old", "old")
#: Each state of an upgrade, with the step that leads to it.
UPGRADE = (
    ALL_OLD,
    State.of(DEFINITIONS, "old new", "old", "old", "old"),
    State.of(CALLERS, "old new", "old new", "old new", "old"),
    State.of(CALLERS, "old new", "new", "new", "old"),
    State.of(WORKERS, "old new", "new", "new", "old new"),
    State.of(WORKERS, "old new", "new", "new", "new"),
    State.of(PERMISSIONS, "new", "new", "new", "new"),
)
WAY_BACK = tuple(reversed(UPGRADE[:-1]))
EVERYTHING = State.of("everything at once", "old new", "old new", "old new", "old new")
#: Callers of the old version with workers of the new version only.
OUT_OF_ORDER = State.of("out of order", "old new", "old new", "old new", "new")

#: How many of the latest ended tokens are verified again; all of them would become too many.
ENDED_TRIED = 6
_numbers = count(1)


@dataclass
class World:
    """The sessions and requests of earlier states, which later states must honour."""

    fleet: Fleet
    rpc: RpcClient
    kept: dict[str, str] = field(default_factory=dict)
    """Live tokens and their sessions."""
    ended: list[str] = field(default_factory=list)
    """Tokens of ended sessions."""
    repeated: list[tuple[str, str, dict[str, Any], str]] = field(default_factory=list)
    """Requests that were answered: operation, message id, fields and answer."""

    @property
    def tenant(self) -> Tenant:
        assert self.fleet.tenant is not None
        return self.fleet.tenant

    async def send(self, name: str, message_id: str | None = None, **fields: Any) -> Any:
        """Return the reply to a request of the tenant, sent by this version's client."""
        operation = OPERATIONS[name]
        request = validated(operation.request, tenant_token=self.tenant.token, **fields)
        return await self.rpc.call(operation, request, message_id=message_id, timeout_seconds=PATIENCE_SECONDS)

    async def token(self, asker: Asker, login: str) -> tuple[str, str]:
        """Return a new token of a user and its session."""
        token = (await expect(asker, "login", login)).value
        return token, (await expect(asker, "verify", token)).value


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(fleet: Fleet) -> AsyncIterator[World]:
    """The previous version, running, with a tenant."""
    await fleet.change_to(ALL_OLD)
    async with RpcClient([fleet.amqp_url], "test", declare=False) as rpc:
        assert await rpc.wait_connected(PATIENCE_SECONDS)
        yield World(fleet, rpc)


async def expect(asker: Asker, command: str, argument: str, code: str = "ok") -> Answer:
    answer = await asker.ask(command, argument)
    assert answer.code == code, f"{asker.name}: {command} is answered {answer.code}, and not {code}"
    return answer


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not await condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("state", [*UPGRADE, *WAY_BACK], ids=str)
async def test_upgrade_and_rollback_step_under_load_keeps_both_versions_working(world: World, state: State) -> None:
    """Traffic may get a 503 during the step, and nothing worse."""
    login = await _user(world.fleet.askers[0])
    subscribed = list(world.fleet.clients.values())
    async with traffic(world.fleet, login) as seen:
        await world.fleet.change_to(state)
    assert seen.codes["ok"], seen
    assert seen.codes.keys() <= {"ok", *CLOSED}, seen
    for client in set(subscribed) & set(world.fleet.clients.values()):
        for session in seen.ended:
            await until(_received(client, session), f"{client.name} did not receive a revocation of the step")
    await _everything_works(world)
    await _repeated_requests_are_done_once(world)


async def test_operation_that_only_some_workers_know_is_refused_by_the_others(world: World) -> None:
    await world.fleet.change_to(EVERYTHING)
    future, replies = f"future.{uuid.uuid4().hex}", asyncio.Queue[AbstractIncomingMessage]()
    request = aio_pika.Message(b"{}", content_type=JSON_TYPE, reply_to=DIRECT_REPLY_TO)
    codes = []
    connection = await aio_pika.connect(world.fleet.amqp_url)
    async with connection, connection.channel() as channel, asyncio.timeout(PATIENCE_SECONDS):
        await (await channel.get_queue(DIRECT_REPLY_TO, ensure=False)).consume(replies.put, no_ack=True)
        queue = await channel.get_queue(lane_queue(Lane.MANAGE).name, ensure=False)
        await queue.bind(RPC_EXCHANGE, future)
        exchange = await channel.get_exchange(RPC_EXCHANGE, ensure=False)
        for _ in range(4):
            await exchange.publish(request, future)
            codes.append(ErrorReply.model_validate_json((await replies.get()).body).code)
        await queue.unbind(RPC_EXCHANGE, future)
    assert set(codes) <= {ErrorCode.BAD_REQUEST, ErrorCode.UNAVAILABLE}
    assert ErrorCode.UNAVAILABLE in codes


async def test_callers_that_are_not_upgraded_fail_closed(world: World) -> None:
    """Old edges and clients may be refused by new workers. They accept no ended session."""
    await world.fleet.change_to(OUT_OF_ORDER)
    login = await _user(world.fleet.edges["new"])
    sessions = {asker.name: await world.token(world.fleet.edges["new"], login) for asker in world.fleet.askers}
    for asker in world.fleet.askers:
        token, _ = sessions[asker.name]
        assert (await asker.ask("verify", token)).code in {"ok", *CLOSED}
        if isinstance(asker, Client):
            assert (await asker.ask("verify from memory", token)).code in {"ok", *CLOSED}
    await expect(world.fleet.edges["new"], "revoke all", login)
    ended = [token for token, _ in sessions.values()]
    for asker in world.fleet.askers:
        await _refuses(asker, ended + world.ended[-ENDED_TRIED:], {"invalid_token", *CLOSED})
    for asker in world.fleet.askers:  # a successful call has its effect
        login_answer = await asker.ask("login", login)
        assert login_answer.code in {"ok", *CLOSED}
        if login_answer.ok and (await asker.ask("logout", login_answer.value)).ok:
            await _refuses(world.fleet.edges["new"], [login_answer.value], {"invalid_token"})
    world.ended += ended


async def test_workers_that_are_all_replaced_at_once_serve_again(world: World) -> None:
    """The lane queues are deleted with the last worker and declared by the other version, in both directions."""
    for workers in ("new", "old"):
        await world.fleet.stop_workers()
        await world.fleet.change_to(State.of(WORKERS, "old new", "new", "new", workers))
        await until(world.fleet.edges["new"].ready, "the edge finds no workers")
        await _everything_works(world)


async def _user(asker: Asker) -> str:
    """Create a user of the tenant and return its login."""
    login = f"user-{next(_numbers)}"
    await expect(asker, "create", login)
    return login


async def _everything_works(world: World) -> None:
    """Check that all callers and workers of all versions honour each caller's requests at once."""
    fleet = world.fleet
    for token, session in world.kept.items():
        for asker in fleet.askers:
            assert (await expect(asker, "verify", token)).value == session
    for asker in fleet.askers:
        await _refuses(asker, world.ended[-ENDED_TRIED:], {"invalid_token"})
    for client in fleet.clients.values():
        assert (await client.ask("wait for the feed")).value == "True", client.name
    for asker in fleet.askers:
        login = await _user(asker)
        (ended, ended_session), (kept, kept_session) = [await world.token(asker, login) for _ in range(2)]
        for other in fleet.askers:
            assert (await expect(other, "verify", kept)).value == kept_session
            assert (await expect(other, "verify", ended)).value == ended_session
        for client in fleet.clients.values():
            await _caches(client, ended)
        async with contextlib.AsyncExitStack() as stack:
            streams = [
                await stack.enter_async_context(streaming(edge.tenant)) for edge in fleet.edges.values() if edge.tenant
            ]
            await expect(asker, "logout", ended)
            for other in fleet.askers:
                await _refuses(other, [ended], {"invalid_token"})
            for stream in streams:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while (await stream.next_event()).data.session_id != ended_session:
                        pass
        for client in fleet.clients.values():
            await until(_received(client, ended_session), f"{client.name} did not receive the revocation of a session")
        world.ended.append(ended)
        world.kept[kept] = kept_session
        if len(world.kept) > 2 * len(fleet.askers):  # end the oldest, whichever version created it
            oldest = next(iter(world.kept))
            del world.kept[oldest]
            await expect(asker, "logout", oldest)
            world.ended.append(oldest)
    await _all_workers_served(world)


async def _all_workers_served(world: World) -> None:
    """Wait until workers of every version have served requests of each kind."""
    required = ("auth.login ok", "auth.verify ok", "auth.logout ok", "user.create ok")

    async def done() -> bool:
        if all(served[each] for served in world.fleet.served().values() for each in required):
            return True
        asker = world.fleet.askers[0]
        token, _ = await world.token(asker, await _user(asker))
        await expect(asker, "logout", token)
        return False

    await until(done, f"some workers get no requests: {world.fleet.served()}")


async def _repeated_requests_are_done_once(world: World) -> None:
    """Check that a request answered by either version is answered alike or refused, and never done twice."""
    for name, message_id, fields, answer in world.repeated:
        try:
            repeated_reply = await world.send(name, message_id, **fields)
        except LoginTaken:
            continue
        if name == "user.create":
            assert repeated_reply.id == answer
        else:  # the first session or another valid one
            assert await world.send("token.introspect", token=repeated_reply.access_token)
    login, message_id = f"user-{next(_numbers)}", uuid.uuid4().hex
    create = {"login": login, "password": PASSWORD, "email": "user@users.test"}
    login_fields = {"login": login, "password": PASSWORD, "device_id": "phone"}
    user = await world.send("user.create", message_id, **create)
    login_answer = await world.send("auth.login", message_id, **login_fields)
    for _ in range(2):  # with workers of both versions, one of these two reaches the other
        repeated_login = await world.send("auth.login", message_id, **login_fields)
        assert _session_of(repeated_login.access_token) == _session_of(login_answer.access_token)
    for _ in range(2):
        with contextlib.suppress(LoginTaken):
            assert (await world.send("user.create", message_id, **create)).id == user.id
    await _a_user_is_read_or_unavailable(world, login, user.id)
    listed = await world.send("user.list", q=login)
    assert [each.id for each in listed.users if each.login == login] == [user.id]
    world.repeated = [
        ("user.create", message_id, create, user.id),
        ("auth.login", message_id, login_fields, login_answer.access_token),
    ]


def _session_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


async def _a_user_is_read_or_unavailable(world: World, login: str, user_id: str) -> None:
    """Until all workers know `user.get`, this version's callers may be refused with 503, and an edge that does not
    know it with 405; they find no wrong user, and none of them waits in vain."""
    only_new = world.fleet.workers.keys() == {"new"}
    try:
        assert (await world.send("user.get", login=login)).id == user_id
    except Unavailable:
        assert not only_new
    for name, edge in world.fleet.edges.items():
        assert edge.tenant is not None
        answer = await edge.tenant.call("GET", edge.tenant.path(login))
        if answer.is_success:
            assert answer.json()["id"] == user_id
        else:
            assert answer.status_code in ({503} if name == "new" else {405, 503}), answer.text
            assert name == "old" or not only_new


async def _caches(client: Client, token: str) -> None:
    """Wait until the client answers from its cache."""

    async def hit() -> bool:
        before = await client.ask("count hits")
        await expect(client, "verify from memory", token)
        return await client.ask("count hits") != before

    await until(hit, f"{client.name} caches nothing")


async def _refuses(asker: Asker, tokens: Sequence[str], codes: set[str]) -> None:
    """Check that none of these tokens is accepted; a cached verifier gets the time until its feed
    delivers the event.
    """
    for token in tokens:
        answer = await asker.ask("verify", token)
        assert answer.code in codes, f"{asker.name}: a token of an ended session is answered {answer.code}"
        if isinstance(asker, Client):
            await until(_evicted(asker, token, codes), f"{asker.name} still accepts a token from its cache")


def _evicted(client: Client, token: str, codes: set[str]) -> Callable[[], Awaitable[bool]]:
    async def evicted() -> bool:
        answer = await client.ask("verify from memory", token)
        assert answer.code in {"ok", *codes}
        return not answer.ok

    return evicted


def _received(client: Client, session: str) -> Callable[[], Awaitable[bool]]:
    async def received() -> bool:
        return session in client.revoked

    return received
