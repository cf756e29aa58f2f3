"""The whole service while its database steps down during the wait for a majority."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio

from tests.faults.fail_command import WRITES, FailCommand
from tests.faults.load import PASSWORD
from tests.faults.mongo_link import MongoLink
from tests.faults.profile import LONG
from tests.faults.stack import Crashable, Stack, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: PrimarySteppedDown, InterruptedDueToReplStateChange, InterruptedAtShutdown.
CODES = [189, 11602, 11600] if LONG else [189]
#: A sweep takes up work that is five seconds old, and runs every two seconds.
SWEPT_SECONDS = 30
#: By name: method, path below a user, and body.
CHANGES = {
    "revoke all": ("DELETE", "/sessions", None),
    "new password": ("PATCH", "", {"password": f"{PASSWORD}, another"}),
    "deletion": ("DELETE", "", None),
}


@dataclass(frozen=True)
class Linked:
    """A service whose workers reach the database over links."""

    stack: Stack
    links: list[MongoLink]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def linked(crashable: Crashable, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Linked]:
    directory = tmp_path_factory.mktemp("step_down")
    database = crashable.server.url.replace("/jincor_auth", f"/{directory.name}").replace("=false", "=true")
    async with contextlib.AsyncExitStack() as undo:
        names = ["worker-verify-0", "worker-password-0"]
        links = {name: await undo.enter_async_context(MongoLink(database)) for name in names}
        urls = {name: {"MONGO_URL": f"{link.url}&serverMonitoringMode=poll"} for name, link in links.items()}
        stack = await undo.enter_async_context(running_stack(directory, crashable, workers=1, env_of=urls))
        yield Linked(stack, list(links.values()))


@pytest.mark.parametrize("name", CHANGES)
async def test_change_during_a_step_down_gets_503_and_its_retry_succeeds(linked: Linked, name: str) -> None:
    """No code of a step-down reaches the caller as an internal error."""
    method, path, body = CHANGES[name]
    stack = linked.stack
    headers = {"Authorization": f"Bearer {stack.tenant.token}"}
    async with httpx.AsyncClient(base_url=stack.service.urls[0], headers=headers, timeout=10) as http:
        for code in CODES:
            login = f"ann-{name.replace(' ', '-')}-{code}"
            await stack.tenant.create(login, PASSWORD)
            token = await stack.tenant.login(login, PASSWORD)
            async with contextlib.AsyncExitStack() as faults:
                for link in linked.links:
                    await faults.enter_async_context(link.failing(FailCommand(WRITES, write_concern_error=code)))
                refused = await http.request(method, f"/user/{login}{path}", json=body)
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            assert int(refused.headers["Retry-After"]) > 0
            done = await http.request(method, f"/user/{login}{path}", json=body)
            # A user whose deletion is decided is not found, and a sweep completes the deletion.
            assert done.status_code == (404 if name == "deletion" else 200)
            async with asyncio.timeout(SWEPT_SECONDS):
                while (  # noqa: ASYNC110 - the sweep is in another process
                    await http.post("/auth/verify", json={"token": token})
                ).status_code != 400:
                    await asyncio.sleep(0.1)
