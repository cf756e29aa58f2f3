"""The database as in production: TLS with certificates of `python -m deploy`, and one user per role.

The database is always SecantusDB, started as `mongod` starts with `deploy/mongo`, with the roles of `roles.js`.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from deploy.certificates import CA, make_authority, make_certificate
from dev.ports import accepts_connections, free_port
from dev.processes import ChildProcess, Service
from shared.process.environment import EX_UNAVAILABLE
from tests.database_roles import access
from tests.integration.test_check import check_worker
from tests.integration.test_indexes import create
from tests.service import running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSWORDS = {"worker": "what-workers-know", "deploy": "what-operators-know", "backup": "what-backups-know"}
START_TIMEOUT_SECONDS = 60
UNAUTHORIZED = 13


@dataclass(frozen=True)
class Protected:
    """A database that requires a password, and the directory of its certificate authority."""

    port: int
    directory: Path

    def url(self, user: str, database: str, *, authority: Path | None = None, password: str | None = None) -> str:
        """Return a URL as `deploy/secret_files.py` makes it, for a single node."""
        cafile = authority or self.directory / CA
        options = f"directConnection=true&retryWrites=false&authSource={database}&tls=true&tlsCAFile={cafile}"
        return f"mongodb://{user}:{password or PASSWORDS[user]}@localhost:{self.port}/jincor_auth?{options}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def protected(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Protected]:
    directory, port = tmp_path_factory.mktemp("protected"), free_port()
    make_authority(directory)
    make_certificate(directory, "mongo-1")  # also valid for `localhost`
    argv = [sys.executable, "-m", "secantus", "--port", str(port), "--storage-path", str(directory / "data")]
    node = str(directory / "mongo-1.pem")
    tls = ["--tls-cert-file", node, "--tls-key-file", node, "--tls-ca-file", str(directory / CA)]
    for name, more in (("open", []), ("protected", ["--auth", *tls])):
        server = ChildProcess(Service(name, [*argv, *more], os.environ), directory / "logs")
        server.start()
        try:
            await server.wait_until(lambda: accepts_connections(port), START_TIMEOUT_SECONDS)
            if more:
                yield Protected(port, directory)
            else:
                await asyncio.to_thread(make_users, f"mongodb://localhost:{port}/?directConnection=true")
        finally:
            await server.terminate()


def make_users(url: str) -> None:
    """Create the users of `users.js` with the roles of `roles.js`."""
    made = access()
    assert set(made.users) == set(PASSWORDS)
    with MongoClient[dict[str, object]](url) as client:
        for role, privileges in made.roles.items():
            # SecantusDB takes `$indexStats` for a `find`.
            more = [{**privileges[0], "actions": ["find"]}] if role == "indexes" else []
            client["jincor_auth"].command("createRole", role, privileges=[*privileges, *more], roles=[])
        for name, user in made.users.items():
            client[user["db"]].command("createUser", name, pwd=PASSWORDS[name], roles=user["roles"])


async def test_service_runs_as_the_worker_user(protected: Protected, amqp_url: str, tmp_path: Path) -> None:
    """The user `deploy` creates the indexes, and the user `worker` serves without permission to do so."""
    code, said = await create(protected.url("deploy", "jincor_auth"))
    assert (code, said[-1]) == (0, "all indexes exist")
    url = protected.url("worker", "jincor_auth")
    assert await check_worker(amqp_url, url) == (0, ["ok"])
    async with running_service(tmp_path, amqp_url, url) as service:
        assert PASSWORDS["worker"] not in service.logs()


@pytest.mark.parametrize("user", ["worker", "deploy"])
async def test_users_of_the_service_drop_nothing(protected: Protected, user: str) -> None:
    """Neither a collection nor an index. `deploy` writes no document, and `worker` creates no index."""

    def tries() -> None:
        with MongoClient[dict[str, object]](protected.url(user, "jincor_auth")) as client:
            database = client["jincor_auth"]
            refused: list[Callable[[], object]] = [
                lambda: database.command("drop", "users"),
                database["users"].drop_indexes,
            ]
            if user == "deploy":
                refused.append(lambda: database["users"].insert_one({"login": "mallory"}))
            else:
                refused.append(lambda: database["users"].create_index("email"))
            for attempt in refused:
                with pytest.raises(OperationFailure) as error:
                    attempt()
                assert error.value.code == UNAUTHORIZED

    await asyncio.to_thread(tries)


async def test_wrong_database_password_is_reported_without_the_password(protected: Protected, amqp_url: str) -> None:
    wrong = protected.url("worker", "jincor_auth", password="hunter2hunter2")
    code, (line,) = await check_worker(amqp_url, wrong)
    assert (code, line) == (EX_UNAVAILABLE, "database: refuses these credentials, or their permissions are too narrow")


async def test_server_of_another_authority_gets_no_password(
    protected: Protected, amqp_url: str, tmp_path: Path
) -> None:
    make_authority(tmp_path)
    code, (line,) = await check_worker(amqp_url, protected.url("worker", "jincor_auth", authority=tmp_path / CA))
    assert code == EX_UNAVAILABLE
    assert "certificate verify failed" in line
    assert PASSWORDS["worker"] not in line


async def test_backup_user_reads_and_cannot_write(protected: Protected) -> None:
    url = protected.url("backup", "admin")

    def reads_and_writes() -> None:
        with MongoClient[dict[str, object]](url) as client:
            collection = client["jincor_auth"]["users"]
            list(collection.find())
            with pytest.raises(OperationFailure) as refused:
                collection.insert_one({"login": "mallory"})
        assert refused.value.code == UNAUTHORIZED

    await asyncio.to_thread(reads_and_writes)
