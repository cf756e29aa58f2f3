"""The primary of the database falls silent, as behind a broken network, and another node replaces it under load."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from shared.contracts.errors import ErrorCode
from tests.faults.profile import LONG, note
from tests.faults.replica_set import ReplicaSet, replica_set
from tests.faults.stack import REPLY_TIMEOUT_SECONDS, Crashable, Stack, running_stack
from worker.adapters.mongo_database import MAX_CONNECTIONS

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALLERS = 12
#: Seconds from the silence to the new primary. Shorter and longer than drivers need to notice the silence (4 s); an
#: election without the vote of the old primary takes 10 s and more.
ELECTIONS = [2.0, 12.0, 2.0, 12.0, 30.0] if LONG else [2.0, 7.0]
#: A client's last retry ends at the deadline; then its process has to run.
SLACK_SECONDS = 1.0
#: docs/reliability.md: calls that begin this long after the new primary was elected succeed.
RECOVERY_SECONDS = 4.0
#: The callers go on for this long after that.
WATCHED_SECONDS = 2.0
WORKERS = ("worker-verify-0", "worker-password-0")


@dataclass(frozen=True)
class Replicated:
    """A service whose workers know the database as a replica set."""

    stack: Stack
    database: ReplicaSet


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replicated(crashable: Crashable, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replicated]:
    directory = tmp_path_factory.mktemp("replaced")
    url = crashable.server.url.replace("/jincor_auth", f"/{directory.name}").replace("=false", "=true")
    async with contextlib.AsyncExitStack() as undo:
        database = await undo.enter_async_context(replica_set(url))
        env_of = {name: {"MONGO_URL": database.url} for name in WORKERS}
        stack = await undo.enter_async_context(running_stack(directory, crashable, workers=1, env_of=env_of))
        yield Replicated(stack, database)


async def test_calls_while_a_silent_primary_is_replaced_end_in_time_and_lose_nothing(replicated: Replicated) -> None:
    """Callers get 503 and no 504, and the service is back soon after the election."""
    stack, database = replicated.stack, replicated.database
    async with stack.load(CALLERS) as load:
        for seconds in ELECTIONS:
            accepted = database.accepted
            silent, other = sorted(database.members, key=lambda member: member is not database.primary)
            silent.hold()
            began = time.monotonic()
            await asyncio.sleep(seconds)
            database.elect(other)
            elected = time.monotonic()
            await asyncio.sleep(RECOVERY_SECONDS + WATCHED_SECONDS)
            codes = Counter(each.code for each in load.records.answers if each.ended > began)
            after = load.records.codes(elected + RECOVERY_SECONDS)
            refused = [each.started for each in load.records.answers if each.code == ErrorCode.UNAVAILABLE]
            slowest = load.records.slowest(since=began)
            accepted = database.accepted - accepted
            note(
                f"primary silent, replaced after {seconds:g} s: {dict(codes)}, "
                f"last refused call began {max(refused, default=elected) - elected:.1f} s after the election, "
                f"slowest {slowest:.1f} s, {accepted} connections of {len(WORKERS)} workers"
            )
            assert codes.keys() <= {"ok", ErrorCode.INVALID_TOKEN, ErrorCode.UNAVAILABLE, ErrorCode.OVERLOADED}
            # Calls wait through short elections.
            assert codes[ErrorCode.UNAVAILABLE] or seconds < REPLY_TIMEOUT_SECONDS
            assert after["ok"]
            assert after.keys() <= {"ok", ErrorCode.INVALID_TOKEN}
            assert slowest < REPLY_TIMEOUT_SECONDS + SLACK_SECONDS
            assert accepted <= len(WORKERS) * MAX_CONNECTIONS
            await database.bring_back(silent)
    assert load.records.violations == []
    await stack.audit(load, "primary replaced")
