"""Thousands of revocations while workers and the broker are killed."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pymongo
import pytest
import pytest_asyncio
from pymongo.collection import Collection

from tests.faults.accounts import claims
from tests.faults.audit import received_revocations, until_nothing_pending
from tests.faults.load import PASSWORD, REFUSALS
from tests.faults.profile import LONG, note
from tests.faults.stack import Crashable, Stack, running_stack
from tests.faults.transports import until_ready

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

REVOCATIONS = 10_000 if LONG else 400
#: Sessions that stay alive, to notice events about them.
KEPT = 50
CALLERS = 8
#: Documents per write.
BATCH = 500
#: Number of killed workers; every second time the broker is killed too.
KILLS = 10 if LONG else 2


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(crashable: Crashable, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("revocations"), crashable) as running:
        yield running


@pytest.fixture
def sessions(stack: Stack) -> Iterator[Collection[dict[str, Any]]]:
    with pymongo.MongoClient[dict[str, Any]](stack.service.mongo_url) as client:
        yield client.get_default_database()["sessions"]


async def test_every_revocation_is_announced_and_no_live_session(
    stack: Stack, sessions: Collection[dict[str, Any]]
) -> None:
    await stack.tenant.create("ann", PASSWORD)
    ids = await _open(stack, sessions, REVOCATIONS + KEPT)
    ending = iter(ids[:REVOCATIONS])
    acknowledged: set[str] = set()

    async def revoke() -> None:
        for session in ending:
            try:
                await stack.on_broker.revoke("ann", session)
            except REFUSALS:
                await asyncio.sleep(0.2)
            else:
                acknowledged.add(session)

    async with asyncio.TaskGroup() as tasks:
        callers = [tasks.create_task(revoke()) for _ in range(CALLERS)]
        for kill in range(1, KILLS + 1):
            done = kill * REVOCATIONS // (KILLS + 1)
            while len(acknowledged) < done and not all(each.done() for each in callers):  # noqa: ASYNC110 (the callers add to it)
                await asyncio.sleep(0.02)
            victim = f"worker-verify-{kill % 2}"
            await stack.process(victim).kill()
            if kill % 2 == 0:
                await stack.node.kill()
                await stack.node.start()
            await stack.start_again(victim)

    await until_ready(stack.service.urls)
    await until_nothing_pending(stack.service.mongo_url)
    ended = {document["_id"] for document in sessions.find({"revocation": {"$exists": True}}, ["_id"])}
    announced = await received_revocations(stack.service.amqp_url, ended)
    note(
        f"{REVOCATIONS} revocations, {KILLS} workers and {KILLS // 2} brokers killed: {len(acknowledged)} "
        f"acknowledged, {len(ended)} done, lost {len(ended - announced)}, "
        f"spurious {len(announced & (set(ids) - ended))}"
    )
    assert acknowledged <= ended
    assert ended <= announced
    assert not announced & (set(ids) - ended)
    assert len(acknowledged) > REVOCATIONS // 2


async def _open(stack: Stack, sessions: Collection[dict[str, Any]], count: int) -> list[str]:
    """Return sessions of one user: one is opened, and the others are copies in the database."""
    token = await stack.tenant.login("ann", PASSWORD)
    opened = sessions.find_one({"_id": claims(token)["jti"]})
    assert opened is not None
    copies = [{**opened, "_id": uuid.uuid4().hex, "opened_by": uuid.uuid4().hex} for _ in range(count)]
    for begin in range(0, count, BATCH):
        await asyncio.to_thread(sessions.insert_many, copies[begin : begin + BATCH])
    return [copy["_id"] for copy in copies]
