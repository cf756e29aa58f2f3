"""An older backup, restored as in docs/operations.md.

The driver makes the copy, because mongodump and mongorestore may not be installed.
"""

import base64
import functools
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest

from tests.backends import Backend
from tests.e2e.tenant import PASSWORD, Tenant
from tests.service import START_TIMEOUT_SECONDS, RunningService, running_service, takes_requests

NEW_PASSWORD = "another horse battery"
Backup = dict[str, list[dict[str, Any]]]


@pytest.fixture
async def service(backend: Backend, tmp_path: Path) -> AsyncIterator[RunningService]:
    """One edge and one worker of each kind; the test stops them."""
    async with running_service(tmp_path, await backend.vhost(), backend.database_url()) as running:
        yield running


@pytest.fixture
async def http(service: RunningService) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=service.urls[0], timeout=30) as client:
        yield client


async def test_new_master_key_after_a_restore_ends_all_sessions(
    service: RunningService, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    """The backup brings back revoked sessions, deleted users and changed passwords. The new key ends
    every session, also of tenants.
    """
    tenant = await Tenant.register(http)
    for login in ("ann", "bob", "cid"):
        assert (await tenant.create(login)).is_success
    tokens = {login: await tenant.token_of(login) for login in ("ann", "bob", "cid")}
    backup = _dump(service.mongo_url)

    assert (await tenant.logout(tokens["ann"])).is_success
    assert (await tenant.call("DELETE", tenant.path("bob"))).is_success
    assert (await tenant.call("PATCH", tenant.path("cid"), json={"password": NEW_PASSWORD})).is_success
    for token in tokens.values():
        assert (await tenant.verify(token)).status_code == 400

    await _stop_workers(service)
    _restore(service.mongo_url, backup)
    await _start_workers(service)
    for token in tokens.values():
        assert (await tenant.verify(token)).is_success, "the restored session is alive again"

    await _stop_workers(service)
    (tmp_path / "master-keys").write_text(f"restored:{base64.b64encode(secrets.token_bytes(32)).decode()}")
    await _start_workers(service)
    assert (await tenant.verify(tokens["ann"])).status_code == 401, "the tenant token is dead"
    again = await http.post("/tenant/login", json={"email": tenant.email, "password": PASSWORD})
    tenant = Tenant(http, tenant.id, tenant.email, again.json()["token"])
    for token in tokens.values():
        assert (await tenant.verify(token)).status_code == 400
    assert (await tenant.login("bob")).is_success
    assert (await tenant.login("cid", NEW_PASSWORD)).status_code == 403
    assert (await tenant.login("cid")).is_success
    assert (await tenant.verify(await tenant.token_of("ann"))).is_success


def _dump(url: str) -> Backup:
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        database = client.get_default_database()
        return {name: list(database[name].find()) for name in database.list_collection_names()}


def _restore(url: str, backup: Backup) -> None:
    """Replace all documents as `mongorestore --drop` does. The indexes stay, as in a dump."""
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        database = client.get_default_database()
        for name in database.list_collection_names():
            database[name].delete_many({})
        for name, documents in backup.items():
            if documents:
                database[name].insert_many(documents)


async def _stop_workers(service: RunningService) -> None:
    for name, process in service.processes.items():
        if name.startswith("worker"):
            assert await process.terminate() == 0


async def _start_workers(service: RunningService) -> None:
    for name, process in service.processes.items():
        if name.startswith("worker"):
            process.start()
            await process.wait_until(functools.partial(takes_requests, process), START_TIMEOUT_SECONDS)
