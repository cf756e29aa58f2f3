"""One tenant's storm of logins leaves another tenant its share of what is hashed, and a part of its idle rate."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dev.ports import free_port
from shared.contracts.errors import AuthError
from tests.faults.load import PASSWORD
from tests.faults.metrics import told
from tests.faults.profile import LONG, note
from tests.faults.stack import Crashable, Stack, running_stack
from tests.faults.storm import Storm, storming
from tests.faults.transports import OverAmqp, OverHttp

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUEUE_LENGTH = 16
#: Several times as many at a time as the queue holds, and many times what is hashed meanwhile.
CONNECTIONS, CALLERS, PAUSE_SECONDS = 3, 25, 0.25
SECONDS = 20 if LONG else 8
#: Callers of the other tenant, enough to have all that is hashed if nobody else wants any.
LOGGING_IN = 3
HASHED = "worker_hash_duration_seconds_count"
#: So many times what can be hashed is a storm.
STORM = 4
#: Least share of the idle rate. An equal split gives half at best: the storm's callers, its refusals, the broker and
#: the database take CPU from the same cores. On an otherwise idle machine it was 42%. Without shares it is nothing.
LEAST_OF_IDLE = 1 / 4
#: Least share of all hashes during the storm, which does not depend on the cores. An equal split is half; the other
#: tenant's callers need some of that time between two logins.
LEAST_OF_HASHED = 1 / 3


@pytest.fixture(scope="module")
def metrics_port() -> int:
    """Of the worker that hashes."""
    return free_port()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(
    crashable: Crashable, metrics_port: int, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    """One in which a password takes long, on any machine, so that hashing is what logins wait for."""
    async with running_stack(
        tmp_path_factory.mktemp("storm"),
        crashable,
        workers=1,
        env={
            "AUTH_PASSWORD_QUEUE_LENGTH": str(QUEUE_LENGTH),
            "AUTH_HASH_THREADS": "1",
            "AUTH_HASH_PASSES": "3",
        },
        env_of={"worker-password-0": {"AUTH_METRICS_PORT": str(metrics_port)}},
    ) as running:
        yield running


async def logins_a_second(tenant: OverAmqp) -> float:
    """How many succeed, by callers who do nothing else, until the last of them is answered."""
    done = 0
    began = time.monotonic()
    until = began + SECONDS

    async def log_in() -> None:
        nonlocal done
        while time.monotonic() < until:
            try:
                await tenant.login("ann", PASSWORD)
            except AuthError:
                continue
            done += 1

    await asyncio.gather(*(log_in() for _ in range(LOGGING_IN)))
    return done / (time.monotonic() - began)


async def test_another_tenant_keeps_its_share(stack: Stack, metrics_port: int) -> None:
    """Although what is asked for is many times what can be hashed, and would fill the queue."""
    other, _ = await OverHttp.register(stack.edges, PASSWORD)
    await other.create("ann", PASSWORD)
    storm = Storm(stack.node.amqp_url, stack.tenant.token, CONNECTIONS, CALLERS, PAUSE_SECONDS)
    async with OverAmqp.connect(stack.node.amqp_url, other.token, 6) as tenant:
        idle = await logins_a_second(tenant)
        began = time.monotonic()
        async with storming(storm) as answers:
            before, since = await told(metrics_port, HASHED), time.monotonic()
            beside = await logins_a_second(tenant)
            hashed = (await told(metrics_port, HASHED) - before) / (time.monotonic() - since)
        asked = answers.total() / (time.monotonic() - began)
    note(
        f"{LOGGING_IN} callers of one tenant: {idle:.1f} logins a second, in another's storm {beside:.1f} of "
        f"{hashed:.1f} that were hashed; the storm asked {asked:.0f} times a second: {dict(answers)}"
    )
    assert asked > STORM * hashed
    assert beside >= LEAST_OF_IDLE * idle
    assert beside >= LEAST_OF_HASHED * hashed
