"""Operations while the database changes its primary: each request is done once or not at all, and nothing that an
election may take back is acknowledged or announced."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import pytest
import pytest_asyncio

from shared.contracts.errors import Unavailable
from tests.contract.test_steps import REQUESTS, begin, comparable, send
from tests.contract.world import World
from tests.fakes import NOW
from tests.faults.database_stack import DatabaseStack, database_stack
from tests.faults.fail_command import COMMANDS, WRITES, WTIMEOUT, FailCommand
from tests.faults.profile import LONG
from tests.faults.test_database_errors import ERRORS, WRITE_CONCERN_ERRORS
from tests.mongo_driver import connect
from worker.adapters.index_definitions import INDEXES
from worker.adapters.mongo_audit import MongoAudit
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_indexes import create_indexes
from worker.domain.audit_records import StoredAuditRecord

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: PrimarySteppedDown, InterruptedDueToReplStateChange.
STEPPED_DOWN, INTERRUPTED = 189, 11602
#: No operation has so many commands; a count that comes this far would not end.
MAX_COMMANDS = 40
#: For `make test`: a revocation of many sessions with a deletion, and a creation.
BOUNDED = ["user.delete", "auth.login"]
CHANGES = list(REQUESTS) if LONG else BOUNDED

#: From the n-th command on. Like an election, the fault lasts longer than the driver's one repetition.
LASTING: dict[str, Callable[[int], FailCommand]] = {
    "primary stepped down": lambda number: FailCommand(COMMANDS, skip=number, error_code=STEPPED_DOWN),
    "majority lost": lambda number: FailCommand(WRITES, skip=number, write_concern_error=INTERRUPTED),
}
#: At the n-th command only.
PASSING: dict[str, Callable[[int], FailCommand]] = {
    "one error": lambda number: FailCommand(COMMANDS, skip=number, times=1, error_code=STEPPED_DOWN),
    "answer lost": lambda number: FailCommand(COMMANDS, skip=number, times=1, close_after=True),
    "connection closed": lambda number: FailCommand(COMMANDS, skip=number, times=1, close_connection=True),
}
#: Each code that a write may be answered with: not carried out, or carried out without a majority.
REFUSED_WRITES = {
    **{f"{code} {name}": FailCommand(WRITES, error_code=code) for code, name in ERRORS.items()},
    **{
        f"write concern {code} {name}": FailCommand(WRITES, write_concern_error=code)
        for code, name in WRITE_CONCERN_ERRORS.items()
    },
}


@dataclass(frozen=True)
class Databases:
    """One database: without faults, and over the connections of a worker that meets them."""

    direct: MongoDatabase
    faulty: MongoDatabase
    proxied: MongoDatabase


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DatabaseStack]:
    async with database_stack(tmp_path_factory.mktemp("database")) as stack:
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def databases(stack: DatabaseStack) -> AsyncIterator[Databases]:
    async with connect(stack.url) as direct, connect(stack.faulty.url) as faulty, connect(stack.proxy.url) as proxied:
        await create_indexes(direct)
        yield Databases(direct, faulty, proxied)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("kind", LASTING if LONG else ["primary stepped down"])
async def test_change_with_an_election_from_any_command_on_is_done_once(
    stack: DatabaseStack, databases: Databases, name: str, kind: str
) -> None:
    """The caller gets `unavailable`; its repeat after the election gets the first result."""
    direct = databases.direct
    world = await begin(direct, name)
    expected = comparable(await send(world, name))
    after = await world.seen()
    for number in range(MAX_COMMANDS):
        world = await begin(direct, name)
        async with stack.faulty.failing(LASTING[kind](number)):
            answer = comparable(await send(world, name, databases.faulty))
        if answer == expected:
            return
        assert answer is Unavailable
        assert comparable(await send(world, name)) == expected
        assert await world.seen() == after
        await world.sweep()
        assert await world.seen() == after
        assert await world.announced_all_revocations()
    pytest.fail("the commands do not end")


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("kind", PASSING if LONG else ["answer lost"])
async def test_change_with_one_fault_at_any_command_is_done_once(
    stack: DatabaseStack, databases: Databases, name: str, kind: str
) -> None:
    """Most often the driver or the worker repeats the command, and the caller does not notice."""
    direct = databases.direct
    world = await begin(direct, name)
    expected = comparable(await send(world, name))
    after = await world.seen()
    for number in range(MAX_COMMANDS):
        world = await begin(direct, name)
        async with stack.proxy.failing(PASSING[kind](number)) as injection:
            answer = comparable(await send(world, name, databases.proxied))
        if not injection.injected:
            assert answer == expected
            return
        assert answer in (expected, Unavailable)
        assert answer == expected or comparable(await send(world, name)) == expected
        assert await world.seen() == after
        await world.sweep()
        assert await world.announced_all_revocations()
    pytest.fail("the commands do not end")


@pytest.mark.parametrize("name", REQUESTS)
async def test_change_without_a_majority_is_never_acknowledged(
    stack: DatabaseStack, databases: Databases, name: str
) -> None:
    """Neither the first delivery nor a repeat, which finds the change stored; and nothing of it is announced."""
    world = await begin(databases.direct, name)
    expected = comparable(await send(world, name))
    after = await world.seen()
    world = await begin(databases.direct, name)
    async with stack.faulty.failing(FailCommand(WRITES, write_concern_error=WTIMEOUT)):
        answers = [await send(world, name, databases.faulty) for _ in range(3)]
    assert answers == [Unavailable] * 3
    assert not world.announced
    assert comparable(await send(world, name)) == expected
    assert await world.seen() == after
    await world.sweep()
    assert await world.announced_all_revocations()


@pytest.mark.long
@pytest.mark.parametrize("kind", REFUSED_WRITES)
async def test_changes_refused_with_any_code_are_answered_as_the_first_time_when_repeated(
    stack: DatabaseStack, databases: Databases, kind: str
) -> None:
    """All changes at the same time, since the driver waits for another primary after most codes."""
    names = list(REQUESTS)

    async def sent(worlds: Sequence[World], database: MongoDatabase) -> list[object]:
        answers = await asyncio.gather(
            *(send(world, name, database) for world, name in zip(worlds, names, strict=True))
        )
        return [comparable(answer) for answer in answers]

    undisturbed = [await begin(databases.direct, name) for name in names]
    expected = await sent(undisturbed, databases.direct)
    worlds = [await begin(databases.direct, name) for name in names]
    async with stack.faulty.failing(REFUSED_WRITES[kind]):
        assert await sent(worlds, databases.faulty) == [Unavailable] * len(names)
    assert await sent(worlds, databases.faulty) == expected
    assert [await world.seen() for world in worlds] == [await world.seen() for world in undisturbed]


async def test_token_revoked_by_another_request_without_a_majority_is_not_acknowledged(
    stack: DatabaseStack, databases: Databases
) -> None:
    """RFC 7009 lets a revoked token succeed. That its revocation may be lost is another matter."""
    world = await begin(databases.direct, "token.revoke")
    fields = REQUESTS["token.revoke"](world)
    async with stack.faulty.failing(FailCommand(WRITES, write_concern_error=WTIMEOUT)):
        for message_id in ("first", "second"):
            with pytest.raises(Unavailable):
                await world.call("token.revoke", message_id, databases.faulty, **fields)


async def test_revocation_that_an_election_takes_back_is_announced_only_when_it_is_repeated(
    stack: DatabaseStack, databases: Databases
) -> None:
    """Until a majority has the revocation, neither the sweep nor `event.list` tells of it."""
    expected = comparable(await send(await begin(databases.direct, "auth.logout"), "auth.logout"))
    world = await begin(databases.direct, "auth.logout")
    token = world.tokens["shop"]
    async with _committed_until_now(stack, databases):
        async with stack.proxy.failing(FailCommand(WRITES, write_concern_error=WTIMEOUT)):
            assert await send(world, "auth.logout", databases.proxied) is Unavailable
        await world.sweep(databases.proxied)
        assert not world.announced
        listed = await world.call("event.list", None, databases.proxied, tenantToken=token, since=0)
        assert listed.model_dump()["events"] == ()
    assert comparable(await send(world, "auth.logout")) == expected
    await world.sweep()
    assert await world.announced_all_revocations()
    listed = await world.call("event.list", tenantToken=token, since=0)
    assert [event["subject"] for event in listed.model_dump()["events"]] == [world.session_id("ann's phone")]


async def test_decision_without_a_majority_is_not_carried_out_by_a_sweep(
    stack: DatabaseStack, databases: Databases
) -> None:
    """On shards, the sessions could have a majority while the decision has none."""
    world = await begin(databases.direct, "session.revoke_all")
    async with _committed_until_now(stack, databases):
        async with stack.proxy.failing(FailCommand(WRITES, write_concern_error=WTIMEOUT)):
            assert await send(world, "session.revoke_all", databases.proxied) is Unavailable
        before = await world.seen()
        await world.sweep(databases.proxied)
        assert await world.seen() == before
    await world.sweep()
    assert await world.announced_all_revocations()
    assert len(world.announced) == 2


async def test_audit_record_that_only_the_primary_has_is_not_taken_for_written(
    stack: DatabaseStack, databases: Databases
) -> None:
    audit = MongoAudit(databases.proxied, timedelta(days=1))
    record = StoredAuditRecord("1" * 32, "shop", NOW, "auth.login", "ok")
    async with _committed_until_now(stack, databases):
        await audit.append(record)
        with pytest.raises(Unavailable):
            await audit.append(record)
    await audit.append(record)


@contextlib.asynccontextmanager
async def _committed_until_now(stack: DatabaseStack, databases: Databases) -> AsyncIterator[None]:
    """Let reads with majority read concern see the database as it is now, until the context ends."""
    database = databases.direct.collection("users").database
    copy = database.client[f"{database.name}_majority"]
    for name in INDEXES:
        if documents := await database[name].find({}).to_list(None):
            await copy[name].insert_many(documents)
    stack.proxy.committed_database = copy.name
    try:
        yield
    finally:
        stack.proxy.committed_database = None
        await database.client.drop_database(copy.name)
