"""The database as in production: TLS with certificates of `python -m deploy`, and one user per role.

The database is always SecantusDB, started as `mongod` starts with `deploy/mongo`, with the roles of `users.js`.
"""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from deploy.certificates import CA, make_authority, make_certificate
from dev.ports import accepts_connections, free_port
from dev.processes import REPOSITORY, ChildProcess, Service
from shared.process.environment import EX_UNAVAILABLE
from tests.integration.test_check import check_worker
from tests.service import running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

USERS = REPOSITORY / "deploy/mongo/users.js"
PASSWORDS = {"worker": "what-workers-know", "backup": "what-backups-know"}
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
    """Create the users of `users.js` with their roles."""
    made = re.findall(r'getSiblingDB\("(\w+)"\).*?user: "(\w+)".*?role: "(\w+)", db: "(\w+)"', USERS.read_text(), re.S)
    assert [user for _, user, _, _ in made] == list(PASSWORDS)
    with MongoClient[dict[str, object]](url) as client:
        for database, user, role, of in made:
            client[database].command("createUser", user, pwd=PASSWORDS[user], roles=[{"role": role, "db": of}])


async def test_service_with_the_worker_user_creates_indexes_and_serves(
    protected: Protected, amqp_url: str, tmp_path: Path
) -> None:
    """The user has only `readWrite` on its database."""
    url = protected.url("worker", "jincor_auth")
    assert await check_worker(amqp_url, url) == (0, ["ok"])
    async with running_service(tmp_path, amqp_url, url) as service:
        assert PASSWORDS["worker"] not in service.logs()


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
