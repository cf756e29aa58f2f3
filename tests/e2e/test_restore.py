"""An older backup restored, as docs/operations.md tells to: what comes back to life with it, and what ends it again.

The copy is made through the driver: mongodump and mongorestore need not be installed where tests run.
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
    """One of each: it is stopped in between."""
    async with running_service(tmp_path, await backend.vhost(), backend.database_url()) as running:
        yield running


@pytest.fixture
async def http(service: RunningService) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=service.urls[0], timeout=30) as client:
        yield client


async def test_a_new_master_key_ends_what_a_restored_backup_revives(
    service: RunningService, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    """With the backup come back sessions that were ended, users that were deleted and passwords that were changed; the
    new key ends all sessions, of tenants too, and the others are what the backup says."""
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
        assert (await tenant.verify(token)).is_success, "alive again: this is what the new key is for"

    await _stop_workers(service)
    (tmp_path / "master-keys").write_text(f"restored:{base64.b64encode(secrets.token_bytes(32)).decode()}")
    await _start_workers(service)
    assert (await tenant.verify(tokens["ann"])).status_code == 401, "its tenant's token is dead"
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
    """As `mongorestore --drop` does, but for the indexes, which it keeps."""
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
