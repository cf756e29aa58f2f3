"""The database stops answering and closes nothing, like a primary behind a broken network: calls end in time.

Edges stay ready while that is no longer than a planned election.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio
from yarl import URL

from tests.e2e.tenant import Tenant
from tests.faults.profile import note
from tests.faults.stack import Crashable
from tests.faults.transports import PATIENCE_SECONDS, READINESS_SECONDS, clean_error, until_ready
from tests.integration.proxy import Proxy
from tests.service import RunningService, refused_readiness, running_service
from worker.adapters.mongo_database import HEARTBEAT_MS, MAX_CONNECTIONS, PLANNED_ELECTION_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: More requests than a worker holds at once, so that some wait in the broker's queue behind requests that wait for
#: the database.
AT_ONCE = 48
#: Length of a planned election. Readiness covers more, since it counts from a heartbeat before the election.
ELECTION = 0.6 * (PLANNED_ELECTION_SECONDS - HEARTBEAT_MS / 1000)


@dataclass(frozen=True)
class Stack:
    """A service whose link to the database can be held."""

    link: Proxy
    service: RunningService
    http: httpx.AsyncClient


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(crashable: Crashable, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    directory = tmp_path_factory.mktemp("silent")
    database = crashable.server.url.replace("/jincor_auth", f"/{directory.name.replace('-', '_')}")
    limits = httpx.Limits(max_connections=4 * AT_ONCE)
    async with Proxy(database) as link:
        # Otherwise the driver asks the database for its address and connects there.
        url = str(URL(link.url).update_query(directConnection="true"))
        async with (
            running_service(directory, crashable.node.amqp_url, url) as service,
            httpx.AsyncClient(base_url=service.urls[0], timeout=PATIENCE_SECONDS, limits=limits) as http,
        ):
            yield Stack(link, service, http)


@pytest_asyncio.fixture(loop_scope="module")
async def stack(running: Stack) -> AsyncIterator[Stack]:
    """Ready, with a database that answers, before and after the test."""
    await until_ready(running.service.urls)
    yield running
    running.link.let_through()


async def test_calls_during_silence_of_the_database_get_503_before_their_deadline(stack: Stack) -> None:
    """Also those that wait in the queue, and without a connection to the database for each call."""
    tenant = await Tenant.register(stack.http)
    assert (await tenant.create("ann")).status_code == 200
    token = await tenant.token_of("ann")

    async def answers() -> Counter[str]:
        verifications = (tenant.verify(token) for _ in range(AT_ONCE))
        lists = (tenant.call("GET", "/user") for _ in range(AT_ONCE))
        logins = (tenant.login("ann") for _ in range(4))
        responses = await asyncio.gather(*verifications, *lists, *logins)
        return Counter("ok" if each.is_success else clean_error(each).code for each in responses)

    assert set(await answers()) == {"ok"}
    stack.link.hold()
    accepted = stack.link.accepted
    refusals = await answers() + await answers()
    accepted = stack.link.accepted - accepted
    stack.link.let_through()
    assert set(refusals) <= {"unavailable", "overloaded"}
    assert refusals["unavailable"] > AT_ONCE
    assert accepted <= 2 * MAX_CONNECTIONS  # two workers
    await until_ready(stack.service.urls)
    assert set(await answers()) == {"ok"}
    note(f"database silent: {dict(refusals)}, {accepted} new connections of two workers")


async def test_readiness_stays_during_silence_as_long_as_a_planned_election(stack: Stack) -> None:
    stack.link.hold()
    async with asyncio.timeout(PATIENCE_SECONDS):
        statuses = await probed(stack.http, ELECTION)
    assert set(statuses) == {200}


async def test_readiness_names_the_database_after_longer_silence(stack: Stack) -> None:
    stack.link.hold()
    ready = await refused_readiness(stack.http)
    assert (ready.status_code, ready.json()["missing"]) == (503, ["database"])
    assert ready.headers["Retry-After"].isdecimal()
    stack.link.let_through()
    await until_ready(stack.service.urls)


async def probed(http: httpx.AsyncClient, seconds: float) -> list[int]:
    """Return the status of each readiness probe that a load balancer sends in this time."""
    until = asyncio.get_running_loop().time() + seconds
    statuses = []
    while asyncio.get_running_loop().time() < until:
        statuses.append((await http.get("/health/ready")).status_code)
        await asyncio.sleep(READINESS_SECONDS)
    return statuses
