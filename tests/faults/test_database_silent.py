"""The database stops answering and closes nothing, like a primary behind a broken network: calls end in time."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio
from yarl import URL

from tests.e2e.tenant import Tenant
from tests.faults.profile import note
from tests.faults.stack import Crashable
from tests.faults.transports import PATIENCE_SECONDS, clean_error, until_ready
from tests.integration.proxy import Proxy
from tests.service import RunningService, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: The default deadline of callers; the edge answers 504 then.
DEADLINE_SECONDS = 5.0
#: More requests than a worker holds at once, so that some wait in the broker's queue behind requests that wait for
#: the database.
AT_ONCE = 48


class CountingProxy(Proxy):
    """Counts the connections that it accepted."""

    accepted = 0

    async def pipe_there(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        await super().pipe_there(reader, writer)


@dataclass(frozen=True)
class Stack:
    link: CountingProxy
    service: RunningService
    http: httpx.AsyncClient


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(crashable: Crashable, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    directory = tmp_path_factory.mktemp("silent")
    database = crashable.server.url.replace("/jincor_auth", f"/{directory.name.replace('-', '_')}")
    async with CountingProxy(database) as link:
        # Otherwise the driver asks the database for its address and connects there.
        url = str(URL(link.url).update_query(directConnection="true"))
        async with (
            running_service(directory, crashable.node.amqp_url, url) as service,
            httpx.AsyncClient(
                base_url=service.urls[0], timeout=PATIENCE_SECONDS, limits=httpx.Limits(max_connections=4 * AT_ONCE)
            ) as http,
        ):
            yield Stack(link, service, http)


@dataclass(frozen=True)
class Answer:
    status: int
    code: str
    seconds: float


async def timed(call: "asyncio.Future[httpx.Response]") -> Answer:
    raise NotImplementedError


async def test_silent_database_refuses_calls_before_their_deadline(stack: Stack) -> None:
    tenant = await Tenant.register(stack.http)
    assert (await tenant.create("ann")).status_code == 200
    token = await tenant.token_of("ann")

    async def answer(call: str) -> Answer:
        started = time.monotonic()
        if call == "verify":
            response = await tenant.verify(token)
        elif call == "login":
            response = await tenant.login("ann")
        else:
            response = await tenant.call("GET", "/user")
        seconds = time.monotonic() - started
        return Answer(response.status_code, "ok" if response.is_success else clean_error(response).code, seconds)

    async def answers() -> Sequence[Answer]:
        calls = ["verify"] * AT_ONCE + ["list"] * AT_ONCE + ["login"] * 4
        return await asyncio.gather(*map(answer, calls))

    stack.link.hold()
    accepted = stack.link.accepted
    try:
        silent = [*(await answers()), *(await answers())]
    finally:
        stack.link.let_through()
    print(Counter((each.status, each.code) for each in silent), max(each.seconds for each in silent), stack.link.accepted - accepted)
    await until_ready(stack.service.urls)
    assert {each.status for each in silent} == {503}
    assert max(each.seconds for each in silent) < DEADLINE_SECONDS
    assert {each.status for each in await answers()} == {200}
    note(f"database silent: {len(silent)} calls")
