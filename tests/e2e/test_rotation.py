"""Rotation of keys and peppers as in docs/operations.md, and the limit of sessions."""

import asyncio
import base64
import functools
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pymongo
import pytest

from tests.backends import Backend
from tests.e2e.tenant import PASSWORD, Tenant
from tests.service import START_TIMEOUT_SECONDS, RunningService, running_service, takes_requests

MAX_SESSIONS = 3
KEYS = {key_id: base64.b64encode(secrets.token_bytes(32)).decode() for key_id in ("old", "new")}


@dataclass(frozen=True)
class Rotated:
    """A service that reads its master keys and peppers from files."""

    service: RunningService
    files: tuple[Path, Path]

    async def restart_with(self, *key_ids: str) -> None:
        """Restart one worker after the other with these keys and peppers; the first is the active one."""
        write_keys(self.files, *key_ids)
        for name, process in self.service.processes.items():
            if name.startswith("worker"):
                await process.terminate()
                process.start()
                await process.wait_until(functools.partial(takes_requests, process), START_TIMEOUT_SECONDS)

    def stored(self, login: str) -> tuple[str, set[str]]:
        """Return the id of the user's pepper and the ids of its sessions' master keys."""
        with pymongo.MongoClient[dict[str, str]](self.service.mongo_url) as client:
            database = client.get_default_database()
            user = database.users.find_one({"login": login})
            assert user is not None
            keys = {session["master_key_id"] for session in database.sessions.find({"user": user["_id"]})}
            return user["password_hash"].partition("$")[0], keys


def write_keys(files: tuple[Path, Path], *key_ids: str) -> None:
    for file in files:
        file.write_text(",".join(f"{key_id}:{KEYS[key_id]}" for key_id in key_ids))


@pytest.fixture
async def rotated(backend: Backend, tmp_path: Path) -> AsyncIterator[Rotated]:
    files = tmp_path / "keys", tmp_path / "peppers"
    write_keys(files, "old")
    environment = {
        "AUTH_MASTER_KEYS_FILE": str(files[0]),
        "AUTH_PASSWORD_PEPPERS_FILE": str(files[1]),
        "AUTH_MAX_SESSIONS_PER_USER": str(MAX_SESSIONS),
    }
    async with running_service(tmp_path, await backend.vhost(), backend.database_url(), env=environment) as service:
        yield Rotated(service, files)


async def test_rotation_with_overlap_keeps_tokens_and_passwords_until_the_old_key_is_removed(rotated: Rotated) -> None:
    """Without the old pepper, users who did not log in since need a new password."""
    async with httpx.AsyncClient(base_url=rotated.service.urls[0], timeout=30) as http:
        before = await Tenant.register(http)
        for login in ("ann", "absent"):
            await before.create(login)
        old_token = await before.token_of("ann")
        assert rotated.stored("ann") == ("old", {"old"})

        # First every worker verifies the new key, so that no worker refuses a token of another.
        await rotated.restart_with("old", "new")
        assert (await before.verify(old_token)).status_code == 200
        await rotated.restart_with("new", "old")
        assert (await before.verify(old_token)).status_code == 200
        new_token = await before.token_of("ann")
        assert (await before.verify(new_token)).status_code == 200
        assert rotated.stored("ann") == ("new", {"old", "new"})
        assert rotated.stored("absent") == ("old", set())
        logged_in = await http.post("/tenant/login", json={"email": before.email, "password": PASSWORD})
        after = Tenant(http, before.id, before.email, logged_in.json()["token"])

        await rotated.restart_with("new")
        assert (await before.verify(new_token)).status_code == 401
        assert (await after.verify(old_token)).status_code == 400
        assert (await after.verify(new_token)).status_code == 200
        assert (await after.login("ann")).status_code == 200
        assert (await after.login("absent")).status_code == 403
        assert (await after.call("PATCH", after.path("absent"), json={"password": "a new fine password"})).is_success
        assert (await after.login("absent", "a new fine password")).status_code == 200


async def test_concurrent_logins_leave_sessions_up_to_the_limit(rotated: Rotated) -> None:
    async with httpx.AsyncClient(base_url=rotated.service.urls[0], timeout=30) as http:
        tenant = await Tenant.register(http)
        await tenant.create("ann")
        tokens = await asyncio.gather(*(tenant.token_of("ann") for _ in range(3 * MAX_SESSIONS)))
        verified = await asyncio.gather(*(tenant.verify(token) for token in tokens))
        statuses = Counter(response.status_code for response in verified)
        assert statuses == {200: MAX_SESSIONS, 400: 2 * MAX_SESSIONS}
        listed = (await tenant.call("GET", tenant.path("ann", "sessions"))).json()["sessions"]
        assert len(listed) == MAX_SESSIONS
