"""A worker that is cut off together with the old primary does not accept tokens that the new primary revoked."""

import asyncio
import contextlib
import functools
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from dev.mongo import MongoServer
from dev.processes import ChildProcess
from dev.services import worker_service
from tests.backends import Backend
from tests.e2e.tenant import Tenant
from tests.faults.profile import note
from tests.primary_link import PrimaryLink
from tests.service import START_TIMEOUT_SECONDS, RunningService, running_service, takes_requests

#: docs/reliability.md: a worker refuses tokens this long after the primary has lost its majority.
BOUND_SECONDS = 1.0
#: Verifications after the bound: enough for both workers to serve many of them.
VERIFICATIONS = 200
#: On a busy machine.
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Split:
    """A service whose second worker has the old primary for its database. Both serve the verify lane."""

    service: RunningService
    current: MongoServer
    link: PrimaryLink
    tenant: Tenant
    token: str

    async def verify(self) -> int:
        """Return the status of a verification, whichever worker answers it."""
        return (await self.tenant.verify(self.token)).status_code


@pytest.fixture
async def split(backend: Backend, tmp_path: Path) -> AsyncIterator[Split]:
    async with contextlib.AsyncExitStack() as undo:
        current, stale = MongoServer(tmp_path / "current"), MongoServer(tmp_path / "stale")
        for server in (current, stale):
            undo.push_async_callback(server.kill)
        await current.start()
        service = await undo.enter_async_context(running_service(tmp_path, await backend.vhost(), current.url))
        http = await undo.enter_async_context(httpx.AsyncClient(base_url=service.urls[0], timeout=30))
        tenant = await Tenant.register(http)
        assert (await tenant.create("ann")).is_success
        token = await tenant.token_of("ann")

        await current.stop()
        await asyncio.to_thread(_copy, current.directory, stale.directory)
        await asyncio.gather(current.start(), stale.start())
        link = await undo.enter_async_context(PrimaryLink(stale.url))
        cut_off = ChildProcess(
            worker_service(
                "verify",
                amqp_url=service.amqp_url,
                mongo_url=link.url,
                master_keys_file=tmp_path / "master-keys",
                name="worker-cut-off",
                env={"AUTH_LOG_VERIFY_SAMPLE": "1"},
            ),
            tmp_path / "logs",
        )
        cut_off.start()
        undo.push_async_callback(cut_off.terminate)
        await cut_off.wait_until(functools.partial(takes_requests, cut_off), START_TIMEOUT_SECONDS)
        split = Split(service, current, link, tenant, token)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await split.verify() != 200 or "local" not in link.finds:
                continue
        yield split


async def test_worker_behind_a_stale_primary_refuses_tokens_after_a_second(split: Split) -> None:
    assert {await split.verify() for _ in range(20)} == {200}
    split.link.deposed = True
    deposed = time.monotonic()
    assert (await split.tenant.logout(split.token)).is_success  # the other worker, on the new primary

    await asyncio.sleep(deposed + BOUND_SECONDS - time.monotonic())
    statuses = Counter([await split.verify() for _ in range(VERIFICATIONS)])
    note(f"stale primary: {dict(statuses)} after {BOUND_SECONDS:g} s")
    # 400: invalid token, from the worker on the new primary. 503: from the one behind the old primary.
    assert statuses.keys() == {400, 503}

    await split.link.lead_to(split.current.url)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while {await split.verify() for _ in range(20)} != {400}:
            continue


def _copy(source: Path, target: Path) -> None:
    """Copy the data of a stopped server, but neither its port nor its log."""
    shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("ports.json", "logs"))


async def test_login_needs_no_confirmation_by_a_majority(backend: Backend, tmp_path: Path) -> None:
    """Its session is a majority write. On a busy host a password worker could not confirm the primary in time."""
    async with (
        PrimaryLink(backend.database_url()) as link,
        running_service(tmp_path, await backend.vhost(), link.url) as service,
        httpx.AsyncClient(base_url=service.urls[0], timeout=30) as http,
    ):
        tenant = await Tenant.register(http)
        assert (await tenant.create("ann")).is_success
        token = await tenant.token_of("ann")
        link.deposed = True
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await tenant.verify(token)).is_success:
                continue
        assert (await tenant.login("ann")).is_success
        assert (await tenant.verify(token)).status_code == 503
